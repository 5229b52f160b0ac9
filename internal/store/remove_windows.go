package store

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// remove removes the entry name from root. os.Root asks for the removal of open
// files as on Unix (FileDispositionInformationEx) and falls back only on some
// of the errors that mean that there is no such request; ERROR_INVALID_FUNCTION
// is another, of network file systems and of wine. Then the entry is opened to
// be removed when it is closed.
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
