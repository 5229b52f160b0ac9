package store

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// A full or read-only file system refuses files, and keeps nothing of them.
func TestStoreDisks(t *testing.T) {
	if !testkit.InNamespaces(t) {
		return
	}
	testkit.MustRun(t, "mount -t tmpfs -o size=4m tmpfs /run")
	content := testkit.Noise(8 << 20)
	s := openStoreIn(t, "/run", Options{})

	// Before any data: the announced size is too large.
	_, _, err := s.Begin(File{Path: "d/f", Size: 8_000_000})
	refuses(t, err, NoSpace, "not enough space: 4194304 bytes free, 8000000 needed")
	if got := listTree(t, "/run"); got != "" {
		t.Errorf("after a refusal: %s", got)
	}

	// Before any data: the file alone would fit, but the space is reserved.
	in, _, err := s.Begin(File{Path: "first", Size: 3 << 20})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Begin(File{Path: "second", Size: 2 << 20})
	refuses(t, err, NoSpace, "not enough space: 1048576 bytes free, 2097152 needed")
	if err := in.Receive(strings.NewReader(content[:2<<20]), func(int) {}); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Begin(File{Path: "second", Size: 2 << 20})
	refuses(t, err, NoSpace, "not enough space: 1048576 bytes free, 2097152 needed")
	in.Abort()
	if len(s.reservations.bytes) > 0 {
		t.Errorf("still reserved: %v", s.reservations.bytes)
	}

	// Midway: the size was unknown.
	for range 2 {
		_, err = put(s, File{Path: "f", Size: -1}, content)
		refuses(t, err, NoSpace, "no space left on device; partial removed")
	}
	if got := listTree(t, "/run"); got != "" {
		t.Errorf("after a full disk: %s", got)
	}
	if free, ok := freeSpace(s.tree.top.dir); !ok || free != 4<<20 {
		t.Errorf("%d bytes free again", free)
	}

	// The space of a suspended upload is not reserved again.
	if kept, _ := leave(t, s, "f", content[:3<<20], 2<<20); kept == "" {
		t.Fatal("nothing kept")
	}
	for _, offset := range []int64{2 << 20, 0} {
		if _, err := put(s, File{Path: "f", Size: 3 << 20, Offset: offset}, content[:3<<20]); err != nil {
			t.Errorf("from %d: %v", offset, err)
		}
		if err := os.Remove("/run/f"); err != nil {
			t.Fatal(err)
		}
		if offset > 0 {
			leave(t, s, "f", content[:3<<20], 2<<20)
		}
	}

	testkit.MustRun(t, "mount -o remount,ro /run")
	_, _, err = s.Begin(File{Path: "g", Size: 3})
	refuses(t, err, Forbidden, "read-only file system")
	if s, err := Open("/run", Options{}); err == nil {
		t.Errorf("a read-only directory was opened: %v", s.Close())
	} else if err.Error() != "cannot create a file: read-only file system" {
		t.Error(err)
	}
	testkit.MustRun(t, "mount -o remount,rw /run")
}

// as runs f with the file system user ID of another user.
func as(t *testing.T, uid int, f func()) {
	t.Helper()
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread() // without unlocking: the thread ends with the goroutine
		if err := unix.Setfsuid(uid); err != nil {
			return
		}
		if now, err := unix.SetfsuidRetUid(-1); err == nil && now == uid {
			f()
			done <- true
		}
	}()
	if !<-done {
		testkit.Missing(t, "root, to be another user")
	}
}

// Directories without write permission refuse files.
func TestStorePermissions(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	// Other users need access to the directories above.
	lay(t, top, "dst/locked/", "dst/open/", "dst/file")
	for dir := top; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dst := filepath.Join(top, "dst")
	for _, path := range []string{dst, filepath.Join(dst, "open")} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dst, "file"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := listTree(t, top)
	as(t, 65534, func() {
		s, err := Open(dst, Options{})
		if err != nil {
			t.Error(err)
			return
		}
		for _, path := range []string{"locked/f", "locked/d/f"} {
			_, _, err := s.Begin(File{Path: path, Size: 3})
			refuses(t, err, Forbidden, "permission denied")
		}
		refuses(t, s.Mkdir("locked/d", 0, time.Time{}), Forbidden, "permission denied")
		refuses(t, s.Symlink("locked/l", "f"), Forbidden, "permission denied")
		// An unreadable file is not reported as identical.
		_, _, err = s.Begin(File{Path: "file", Size: 3, Digest: testkit.SHA256("old")})
		refuses(t, err, Exists, "exists")
		in, _, err := s.Begin(File{Path: "open/f", Size: 3})
		if err != nil {
			t.Error(err)
		} else {
			in.Abort()
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := Open(filepath.Join(dst, "locked"), Options{}); err == nil || err.Error() != "cannot create a file: permission denied" {
			t.Errorf("a directory of root's: %v", err)
		}
	})
	if after := listTree(t, top); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}

// Aligned blocks of zeros become holes, also after preallocation; the content
// stays the same.
func TestStoreHoles(t *testing.T) {
	t.Parallel()
	block := testkit.Noise(holeSize)
	hole := strings.Repeat("\x00", 4<<20)
	for i, content := range []string{
		hole, block + hole, hole + block, block + hole + block, hole + "x", "x" + hole,
		block + hole[:holeSize-1] + block, block[:1000] + hole + block + hole[:5] + block,
	} {
		for _, known := range []bool{true, false} {
			for _, resumed := range []bool{false, true} {
				s, dir := openStoreTest(t, Options{})
				a := File{Path: "f", Size: -1}
				if known {
					a.Size = int64(len(content))
				}
				if resumed && len(content) > 2<<20 {
					if _, a.Offset = leave(t, s, "f", content, 2<<20); a.Offset != 2<<20 {
						t.Fatalf("kept %d bytes", a.Offset)
					}
				}
				f, err := put(s, a, content)
				if err != nil || fmt.Sprintf("%x", f.Digest) != fmt.Sprintf("%x", testkit.SHA256(content)) {
					t.Errorf("%d: %+v %v", i, f, err)
				}
				got, err := os.ReadFile(filepath.Join(dir, "f"))
				if err != nil || string(got) != content {
					t.Errorf("%d: %d bytes, or others: %v", i, len(got), err)
				}
				info, err := os.Stat(filepath.Join(dir, "f"))
				if err != nil {
					t.Fatal(err)
				}
				data := int64(len(content) - strings.Count(content, hole)*len(hole))
				if most := data + 6*holeSize; allocated(info) > most {
					t.Errorf("%d (size known: %t, resumed: %t): takes %d bytes for %d of data", i, known, resumed, allocated(info), data)
				}
			}
		}
	}
}

// A directory is exchanged with a link to the outside all the time. No file is
// created outside, and every stored file is inside.
func TestStoreHostileRenames(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	lay(t, top, "dst/d/", "dst/link -> ../out", "out/")
	dst := filepath.Join(top, "dst")
	s := openStoreIn(t, dst, Options{})
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(dst, "d"), unix.AT_FDCWD, filepath.Join(dst, "link"), unix.RENAME_EXCHANGE)
			if err != nil {
				<-stop
				stopped <- err
				return
			}
		}
	}()
	took, refused := 0, 0
	for deadline := time.Now().Add(testkit.Patience); (took < 50 || refused < 50) && time.Now().Before(deadline); {
		f, err := put(s, File{Path: fmt.Sprintf("d/f%d", took+refused), Size: 3}, "new")
		switch {
		case err == nil && f.Size == 3:
			took++
		case err != nil:
			refused++
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		testkit.NotHere(t, fmt.Sprintf("a file system that exchanges names: %v", err))
	}
	if took == 0 || refused == 0 {
		t.Errorf("%d files stored and %d refused prove little", took, refused)
	}
	if got := listTree(t, filepath.Join(top, "out")); got != "" {
		t.Errorf("outside:\n%s", got)
	}
	if got := strings.Count(listTree(t, dst), "/f"); got != took {
		t.Errorf("%d files, %d reported as stored", got, took)
	}
}

// A reservation covers the bytes to be written, and ends with the upload, also
// for resumed files with holes.
func TestReservation(t *testing.T) {
	t.Parallel()
	s, err := Open(testkit.InMemory(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	content := strings.Repeat("\x00", 4<<20) + testkit.Noise(600_000)
	_, offset := leave(t, s, "hole", content, 4<<20)
	if _, err := put(s, File{Path: "hole", Size: int64(len(content)), Digest: testkit.SHA256(content), Offset: offset}, content); err != nil || offset == 0 {
		t.Fatal(offset, err)
	}
	if len(s.reservations.bytes) > 0 {
		t.Errorf("stored, but still reserved: %v", s.reservations.bytes)
	}
	leave(t, s, "data", content, 3<<20)
	in, _, err := s.Begin(File{Path: "data", Size: int64(len(content))}) // from its beginning
	if err != nil {
		t.Fatal(err)
	}
	if in.part.space.reserved != reserveStep {
		t.Errorf("reserved %d of %d bytes", in.part.space.reserved, len(content))
	}
	in.Abort()
	if len(s.reservations.bytes) > 0 {
		t.Errorf("dropped, but still reserved: %v", s.reservations.bytes)
	}
}

// A directory that was removed while it was cached is created again.
func TestRemovedDir(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, SmallFile + 1} {
		s, dir := openStoreTest(t, Options{})
		for range 2 { // the second gets the cached handle
			if _, err := put(s, File{Path: "d/" + rand.Text(), Size: int64(size)}, testkit.Noise(size)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.RemoveAll(filepath.Join(dir, "d")); err != nil {
			t.Fatal(err)
		}
		if _, err := put(s, File{Path: "d/f", Size: int64(size)}, testkit.Noise(size)); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		testkit.HasContent(t, filepath.Join(dir, "d", "f"), testkit.Noise(size))
	}
}

// A file that is shorter than the one for which its partial file was
// preallocated takes no more than its own space.
func TestShorterThanPartial(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(3 << 20)
	for _, offset := range []int64{0, 2 << 20} {
		s, dir := openStoreTest(t, Options{})
		kept, _ := leave(t, s, "f", content, 2<<20)
		if kept == "" {
			t.Fatal("nothing kept")
		}
		if offset == 0 {
			if err := os.Truncate(kept, 0); err != nil {
				t.Fatal(err)
			}
		}
		f, err := os.OpenFile(kept, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		done, err := preallocate(f, offset, 40<<20) // as an end that was killed leaves it
		_ = f.Close()
		if !done || err != nil {
			testkit.NotHere(t, fmt.Sprintf("a file system with preallocation: %v", err))
		}
		if _, err := put(s, File{Path: "f", Size: 3 << 20, Digest: testkit.SHA256(content), Offset: offset}, content); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(filepath.Join(dir, "f")); err != nil || allocated(info) > 4<<20 {
			t.Errorf("from %d: takes %d bytes: %v", offset, allocated(info), err)
		}
	}
}

// An announced size keeps space from no other upload, beyond one step; received
// bytes do.
func TestAnnouncedSize(t *testing.T) {
	t.Parallel()
	for what, dir := range map[string]string{"memory": testkit.InMemory(t), "disk": t.TempDir()} {
		s := openStoreIn(t, dir, Options{})
		free, ok := freeSpace(s.tree.top.dir)
		if !ok {
			t.Fatal("free space unknown")
		}
		var uploads []*Upload
		for i := range 8 { // each is half of the free space
			in, _, err := s.Begin(File{Path: fmt.Sprint("d/f", i), Size: free / 2})
			if err != nil {
				t.Fatalf("%s, upload %d: %v", what, i, err)
			}
			uploads = append(uploads, in)
			src := io.MultiReader(strings.NewReader(testkit.Noise(SmallFile*4)), iotest.ErrReader(io.ErrUnexpectedEOF))
			if err := in.Receive(src, nil); err != io.ErrUnexpectedEOF {
				t.Fatal(err)
			}
			if info, err := in.part.file.Stat(); err != nil || allocated(info)+in.part.space.reserved > 2*reserveStep {
				t.Errorf("%s: %d bytes allocated and %d reserved", what, allocated(info), in.part.space.reserved)
			}
		}
		for _, in := range uploads {
			in.Abort()
		}
		if len(s.reservations.bytes) > 0 {
			t.Errorf("still reserved: %v", s.reservations.bytes)
		}
	}

	s, _ := openStoreTest(t, Options{MaxSize: 2 << 20})
	content := testkit.Noise(2 << 20)
	slow, _, err := s.Begin(File{Path: "slow", Size: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Abort()
	if _, err := put(s, File{Path: "fast", Size: 1 << 20}, content[:1<<20]); err != nil {
		t.Error(err)
	}
	err = slow.Receive(strings.NewReader(content), nil)
	refuses(t, err, TooLarge, "over the limit of 2097152 bytes: ")
	if s.quota.charged != 1<<20 {
		t.Errorf("%d bytes counted", s.quota.charged)
	}
}
