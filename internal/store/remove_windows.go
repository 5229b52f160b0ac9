package store

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// remove removes the entry name from root. Some network file systems and wine
// do not know the request by which os.Root removes open files as on Unix
// (FileDispositionInformationEx), and fail with ERROR_INVALID_FUNCTION, for
// which os.Root has no fallback. Then the entry is opened so that its close
// removes it.
func remove(root *os.Root, name string) error {
	err := root.Remove(name)
	if !errors.Is(err, windows.ERROR_INVALID_FUNCTION) {
		return err
	}
	const flags = windows.FILE_FLAG_DELETE_ON_CLOSE | windows.FILE_FLAG_OPEN_REPARSE_POINT | windows.FILE_FLAG_BACKUP_SEMANTICS
	f, err := root.OpenFile(name, os.O_RDONLY|flags, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
