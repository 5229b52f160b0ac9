package fdio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"purr/internal/sys"
)

// OpenWriter opens a pipe or device for writing; the caller closes it. It waits
// for the reader of a FIFO, at most limit if that is not zero, and until ctx
// ends. It fails for a file that has become a regular one since the command
// line was checked.
func OpenWriter(ctx context.Context, path string, limit time.Duration) (*os.File, error) {
	begun := time.Now()
	f, err := os.OpenFile(path, os.O_WRONLY|sys.OpenNonblock, 0)
	for isUnreadFIFO(path, err) {
		if limit > 0 && time.Since(begun) >= limit {
			return nil, fmt.Errorf("%s: idle for %v and nobody reads it", path, limit)
		}
		if !sys.Sleep(ctx, 10*time.Millisecond) {
			return nil, context.Cause(ctx)
		}
		f, err = os.OpenFile(path, os.O_WRONLY|sys.OpenNonblock, 0)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() {
		err = fmt.Errorf("%s has become a regular file", path)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// isUnreadFIFO reports whether err, of opening path for writing, means that
// path is a FIFO without a reader: ENXIO in fifo(7).
func isUnreadFIFO(path string, err error) bool {
	if !errors.Is(err, syscall.ENXIO) {
		return false
	}
	info, statErr := os.Stat(path)
	return statErr == nil && info.Mode()&os.ModeNamedPipe != 0
}
