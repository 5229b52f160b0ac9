package store

import (
	"errors"
	"io/fs"
	"math"
	"os"

	"golang.org/x/sys/windows"
)

// openEntry opens the file name in d. os.Root follows a link to within d only,
// and the caller compares what it got with what has the name.
func openEntry(d *folder, name string, flag int) (*os.File, error) {
	return d.root.OpenFile(name, flag, 0o600)
}

// hasOtherNames and sameOwner: a directory of Windows does not tell.
func hasOtherNames(fs.FileInfo) bool  { return false }
func sameOwner(_, _ fs.FileInfo) bool { return true }

// removed is false: an open directory does not tell, either.
func removed(fs.FileInfo) bool { return false }

func spaceOf(info fs.FileInfo) int64 { return info.Size() }

// diskOf takes everything for one volume.
func diskOf(fs.FileInfo) uint64 { return 0 }

func sameDisk(_, _ fs.FileInfo) bool { return false }

// lock takes f by one byte far behind its content: the locks of Windows are
// mandatory, and others may read the file.
func lock(f *os.File) bool {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	at := windows.Overlapped{OffsetHigh: 1 << 30}
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &at) == nil
}

// unlock leaves it to the close of the file.
func unlock(*os.File) {}

// setMode does nothing: the mode of Windows is an attribute that would only
// keep the file from being renamed or removed.
func setMode(*os.File, fs.FileMode) error { return nil }

// syncFolder does nothing: Windows writes names with the file system's log.
func syncFolder(*os.File) error { return nil }

func freeSpace(dir *os.File) (free int64, ok bool) {
	name, err := windows.UTF16PtrFromString(dir.Name())
	if err != nil {
		return 0, false
	}
	var available uint64
	if err := windows.GetDiskFreeSpaceEx(name, &available, nil, nil); err != nil {
		return 0, false
	}
	return int64(min(available, math.MaxInt64)), true
}

func noSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}
