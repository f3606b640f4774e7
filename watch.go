package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	settle     = 200 * time.Millisecond // without a further change before a reload, as one save may be several
	maxWatched = 5000                   // directories
)

// watch asks for a reload when a Python file of the app changes. What cannot be watched is in the log.
func (r *reloads) watch(app string) {
	root := watchedDir(app)
	if root == "" {
		r.log.Warn("nothing is watched: the app is not a file, nor a module in the working directory", "app", app)
		return
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		r.log.Error("nothing is watched", "err", err)
		return
	}
	w := &appWatcher{reloads: r, fs: watcher, root: root}
	w.add(root)
	r.log.Info("watching", "dir", root, "directories", len(watcher.WatchList()))
	r.wg.Go(w.run) // ends with ctx
}

// watchedDir returns the directory that an app is found in: that of a file, or of a module in the working directory that of
// its outermost package. It is empty if there is none.
func watchedDir(app string) string {
	if strings.HasSuffix(app, ".py") {
		return filepath.Dir(app)
	}
	name, _, _ := strings.Cut(app, ".")
	if info, err := os.Stat(name); name != "" && err == nil && info.IsDir() {
		return name
	}
	if _, err := os.Stat(name + ".py"); name != "" && err == nil {
		return "."
	}
	return ""
}

// appWatcher watches directories: editors replace files, so that a watch on a file would be lost.
type appWatcher struct {
	reloads *reloads
	fs      *fsnotify.Watcher
	root    string
}

func (w *appWatcher) run() {
	log := w.reloads.log
	timer := time.NewTimer(settle)
	timer.Stop()
	for {
		select {
		case event := <-w.fs.Events:
			if path, ok := w.changed(event); ok {
				log.Info("changed", "path", path)
				timer.Reset(settle)
			}
		case err := <-w.fs.Errors:
			log.Error("watch", "err", err)
			if errors.Is(err, fsnotify.ErrEventOverflow) { // anything may have changed
				timer.Reset(settle)
			}
		case <-timer.C:
			w.reloads.want()
		case <-w.reloads.ctx.Done():
			if err := w.fs.Close(); err != nil {
				log.Error("end watch", "err", err)
			}
			return
		}
	}
}

// changed returns the Python file that has changed, if event is about one, and watches directories that are new.
func (w *appWatcher) changed(event fsnotify.Event) (string, bool) {
	if event.Has(fsnotify.Create) {
		if info, err := os.Stat(event.Name); err == nil && info.IsDir() {
			path := w.add(event.Name) // files may have been there before the watch
			return path, path != ""
		}
	}
	const content = fsnotify.Create | fsnotify.Write | fsnotify.Remove | fsnotify.Rename
	return event.Name, event.Op&content != 0 && isSource(event.Name)
}

// add watches dir and what is below it, and returns one of the Python files in there.
func (w *appWatcher) add(dir string) (source string) {
	log := w.reloads.log
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil && path == dir && !errors.Is(err, fs.ErrNotExist):
			return err
		case err != nil: // it went away meanwhile, or is not ours to read
			return nil
		case !entry.IsDir():
			if isSource(path) {
				source = path
			}
			return nil
		case path != w.root && isForeign(path):
			return filepath.SkipDir
		case len(w.fs.WatchList()) >= maxWatched:
			return errors.New("too many directories; only some are watched")
		}
		return w.fs.Add(path)
	})
	if err != nil {
		log.Error("watch", "dir", dir, "err", err)
	}
	return source
}

// isSource reports whether path names a Python file that somebody may have written. Editors' own files are hidden.
func isSource(path string) bool {
	return strings.HasSuffix(path, ".py") && !strings.HasPrefix(filepath.Base(path), ".")
}

// isForeign reports whether what is in a directory was not written for the app.
func isForeign(path string) bool {
	name := filepath.Base(path)
	if _, err := os.Stat(filepath.Join(path, "pyvenv.cfg")); err == nil {
		return true
	}
	return name == "__pycache__" || name == "site-packages" || name == "node_modules" || strings.HasPrefix(name, ".")
}
