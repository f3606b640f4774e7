package workerproc

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

//go:embed python/__main__.py python/charmer/*.py python/charmer/py.typed
var runtimeFiles embed.FS

// runtimeDir returns a directory that holds the embedded Python runtime, to be run as `python3 DIR`. It lies in the
// user's cache under a name made from its content, so that runs share it and Python keeps its bytecode there; where the
// cache cannot be written it is a temporary directory, which cleanup removes.
func runtimeDir() (dir string, cleanup func() error, err error) {
	if dir, err := UnpackRuntime(); err == nil {
		return dir, func() error { return nil }, nil
	}
	return temporaryRuntime(writeRuntime)
}

// UnpackRuntime puts the embedded Python runtime into the user's cache, unless it is there, and returns its directory: an
// entry of PYTHONPATH with which `import charmer` works. Each version of the runtime has a directory of its own.
func UnpackRuntime() (dir string, err error) {
	cache, err := os.UserCacheDir()
	if err == nil {
		dir = filepath.Join(cache, "charmer", "runtime-"+runtimeDigest())
		err = writeRuntime(dir)
	}
	if err != nil {
		return "", fmt.Errorf("write the Python runtime: %w", err)
	}
	return dir, nil
}

// temporaryRuntime makes a directory for the runtime that cleanup removes, and has write fill it.
func temporaryRuntime(write func(dir string) error) (dir string, cleanup func() error, err error) {
	dir, err = os.MkdirTemp("", "charmer-runtime-")
	if err != nil {
		return "", nil, fmt.Errorf("directory for the Python runtime: %w", err)
	}
	cleanup = func() error { return os.RemoveAll(dir) }
	if err := write(dir); err != nil {
		return "", nil, errors.Join(fmt.Errorf("write the Python runtime: %w", err), cleanup())
	}
	return dir, cleanup, nil
}

// writeSharedRuntime is writeRuntime for a directory that lies where anybody can make one of its name, and from which
// workers of another user run: it must be ours, and everybody must be able to read it, whatever the umask.
func writeSharedRuntime(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to somebody else", dir)
	}
	return errors.Join(writeRuntime(dir), os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, "charmer"), 0o755))
}

// writeRuntime makes sure that dir holds the runtime files as they are embedded. Each file appears whole or not at all,
// so that services that start together do not disturb each other.
func writeRuntime(dir string) error {
	return walkRuntime(func(name string, content []byte) error {
		path := filepath.Join(dir, name)
		if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, content) {
			return nil
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		tmp, err := os.CreateTemp(filepath.Dir(path), ".new-")
		if err != nil {
			return err
		}
		defer os.Remove(tmp.Name()) // is gone already when all went well
		_, err = tmp.Write(content)
		if err == nil {
			err = tmp.Chmod(0o644)
		}
		if cerr := tmp.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
		return os.Rename(tmp.Name(), path)
	})
}

func runtimeDigest() string {
	sum := sha256.New()
	// The embedded files cannot fail to be read.
	_ = walkRuntime(func(name string, content []byte) error {
		fmt.Fprintf(sum, "%s %d\n%s", name, len(content), content)
		return nil
	})
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// walkRuntime calls f for each runtime file, with its name relative to the runtime directory.
func walkRuntime(f func(name string, content []byte) error) error {
	return fs.WalkDir(runtimeFiles, "python", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := runtimeFiles.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel("python", path)
		if err != nil {
			return err
		}
		return f(name, content)
	})
}
