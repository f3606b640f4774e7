package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Answer is what a server sent.
type Answer struct {
	Status int
	Body   []byte
	last   bool // the server closes the connection behind it
	toEnd  bool // the body ends with the connection
}

// readAnswer reads one answer of HTTP/1.1 (RFC 9112) and hands its body over piece by piece. The error is one of the
// connection, or says what is wrong with the answer's form.
func readAnswer(in *bufio.Reader, each func([]byte)) (Answer, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return Answer{}, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return Answer{}, fmt.Errorf("not a status line: %q", line)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return Answer{}, fmt.Errorf("not a status line: %q", line)
	}
	answer := Answer{Status: status, last: line[7] == '0'}
	length, chunked, err := readHead(in, &answer)
	if err != nil {
		return answer, err
	}
	switch {
	case chunked:
		return answer, readChunks(in, each)
	case length >= 0:
		return answer, readPiece(in, length, each)
	default: // to the end of the connection
		answer.last, answer.toEnd = true, true
		return answer, readRest(in, each)
	}
}

// readHead reads the header up to the empty line. length is -1 if there is none.
func readHead(in *bufio.Reader, answer *Answer) (length int, chunked bool, err error) {
	length = -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, false, unexpected(err)
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return length, chunked, nil
		}
		if first := line[0] | 0x20; first != 'c' && first != 't' {
			continue // none of those below
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return 0, false, fmt.Errorf("not a length: %q", value)
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("Connection")):
			answer.last = bytes.EqualFold(value, []byte("close"))
		}
	}
}

// readChunks reads a chunked body and its trailer, RFC 9112 section 7.1.
func readChunks(in *bufio.Reader, each func([]byte)) error {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return unexpected(err)
		}
		text, _, _ := bytes.Cut(bytes.TrimSpace(line), []byte(";"))
		size, err := strconv.ParseInt(string(text), 16, 32)
		if err != nil || size < 0 {
			return fmt.Errorf("not the size of a chunk: %q", line)
		}
		if size > 0 {
			if err := readPiece(in, int(size), each); err != nil {
				return err
			}
		}
		for { // the end of the chunk, or the trailer
			line, err := in.ReadSlice('\n')
			if err != nil {
				return unexpected(err)
			}
			if len(bytes.TrimSpace(line)) == 0 {
				break
			}
			if size > 0 {
				return fmt.Errorf("after a chunk came %q", line)
			}
		}
		if size == 0 {
			return nil
		}
	}
}

// readPiece reads exactly length bytes, in as few pieces as they come in.
func readPiece(in *bufio.Reader, length int, each func([]byte)) error {
	for length > 0 {
		if in.Buffered() == 0 {
			if _, err := in.Peek(1); err != nil {
				return unexpected(err)
			}
		}
		piece, _ := in.Peek(min(length, in.Buffered())) // cannot fail: it is there
		each(piece)
		length -= len(piece)
		_, _ = in.Discard(len(piece)) // the same
	}
	return nil
}

func readRest(in *bufio.Reader, each func([]byte)) error {
	for {
		if _, err := in.Peek(1); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := readPiece(in, in.Buffered(), each); err != nil {
			return err
		}
	}
}

// unexpected turns the end of the connection into an error that says that it came within an answer.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
