package store

import (
	"errors"
	"io/fs"
	"math"
	"os"

	"golang.org/x/sys/windows"
)

// openEntry opens the entry name of d. os.Root follows only links that stay
// within d, and the caller compares the open file with the entry.
func openEntry(d *dirHandle, name string, flag int) (*os.File, error) {
	return d.root.OpenFile(name, flag, 0o600)
}

// hasHardLinks returns false: a FileInfo of Windows does not hold the links.
func hasHardLinks(fs.FileInfo) bool { return false }

// sameOwner returns true: a FileInfo of Windows does not hold the owner.
func sameOwner(_, _ fs.FileInfo) bool { return true } // access lists guard the directory here

// isUnlinked returns false: a FileInfo of Windows does not show it.
func isUnlinked(fs.FileInfo) bool { return false }

// canCreate returns nil: only an attempt shows it.
func canCreate(*os.File) error { return nil }

// allocated returns the size: holes are not visible.
func allocated(info fs.FileInfo) int64 { return info.Size() }

// deviceOf treats everything as one volume.
func deviceOf(fs.FileInfo) uint64 { return 0 }

// sameDevice returns false, so that every file is synced alone.
func sameDevice(_, _ fs.FileInfo) bool { return false }

// tryLock locks one byte far behind the content: LockFileEx. Locks are
// mandatory on Windows, and other processes may read the content.
func tryLock(f *os.File) bool {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	at := windows.Overlapped{OffsetHigh: 1 << 30}
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &at) == nil
}

// unlock ends tryLock.
func unlock(f *os.File) {
	at := windows.Overlapped{OffsetHigh: 1 << 30}
	_ = windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &at)
}

// setMode does nothing: os maps permissions to the read-only attribute, which
// would keep the file from being renamed or removed.
func setMode(*os.File, fs.FileMode) error { return nil }

// openSyncable opens the entry name of d as openEntry does, for writing if that
// is permitted: FlushFileBuffers needs it.
func openSyncable(d *dirHandle, name string) (*os.File, error) {
	f, err := openEntry(d, name, os.O_RDWR)
	if errors.Is(err, fs.ErrPermission) {
		f, err = openEntry(d, name, os.O_RDONLY)
	}
	return f, err
}

// syncFile brings the content of f onto stable storage. It returns nil for a
// file that this user may not write, and that only Windows itself can bring
// there.
func syncFile(f *os.File) error {
	if err := f.Sync(); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// syncDir does nothing: NTFS writes names with its log.
func syncDir(*os.File) error { return nil }

// freeSpace returns the bytes that this user can write to the volume of dir; ok
// is false if they are unknown.
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

// noSpace reports whether err means that the volume is full.
func noSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}
