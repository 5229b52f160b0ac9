package confine

import (
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/landlock-lsm/go-landlock/landlock"
	landlocksys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// tcpABI is the first version of Landlock that limits TCP: Linux 6.7.
const tcpABI = 4

// The rights to files, as in landlock(7). Neither is a program executed, nor a
// device, socket or FIFO created, nor a file moved to another directory.
const (
	readFile   landlock.AccessFSSet = landlocksys.AccessFSReadFile | landlocksys.AccessFSIoctlDev
	readDir    landlock.AccessFSSet = landlocksys.AccessFSReadFile | landlocksys.AccessFSReadDir
	writeFile  landlock.AccessFSSet = landlocksys.AccessFSWriteFile | landlocksys.AccessFSTruncate | landlocksys.AccessFSIoctlDev
	writeDir   landlock.AccessFSSet = readDir | landlocksys.AccessFSWriteFile | landlocksys.AccessFSTruncate | removeFile | landlocksys.AccessFSRemoveDir | landlocksys.AccessFSMakeReg | landlocksys.AccessFSMakeDir | landlocksys.AccessFSMakeSym
	removeFile landlock.AccessFSSet = landlocksys.AccessFSRemoveFile
)

// Restrict leaves the rights of r to the process, all of its threads, and takes
// away the others, for good. It returns what holds, which is nothing where
// there is no Landlock. On an error nothing holds, although there is Landlock.
// It also sets no_new_privs: prctl(2).
func Restrict(r Rules) (Held, error) {
	version, err := landlocksys.LandlockGetABIVersion()
	if err != nil || version < 1 {
		return Held{}, nil
	}
	_, _ = time.Now().Zone() // reads the files of the time zone: later nothing may
	var rules []landlock.Rule
	allow := func(file, dir landlock.AccessFSSet, paths ...string) {
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil || isAnonymous(path, info) {
				continue
			}
			access := file
			if info.IsDir() {
				access = dir
			}
			rules = append(rules, landlock.PathAccess(access, path).IgnoreIfMissing())
		}
	}
	allow(readFile, readDir, r.Read...)
	allow(writeFile, writeDir, r.Write...)
	allow(0, removeFile, r.removal()...)
	if r.Names || r.FreshNames {
		allow(readFile, readDir, nameFiles()...)
	}
	if r.FreshNames {
		allow(0, readDir, "/etc")
	}
	config := landlock.V7
	if r.UnixSockets {
		config.Scoped = 0
	} else {
		config.Scoped = landlocksys.ScopeAbstractUnixSocket
	}
	if r.AnyTCP {
		config.HandledAccessNet = 0
	} else {
		for _, port := range r.connects() {
			rules = append(rules, landlock.ConnectTCP(uint16(port)))
		}
		for _, port := range r.Bind {
			rules = append(rules, landlock.BindTCP(uint16(port)))
		}
	}
	if err := config.BestEffort().Restrict(rules...); err != nil {
		return Held{}, err
	}
	return Held{Rules: r, Files: true, TCP: version >= tcpABI && !r.AnyTCP}, nil
}

// isAnonymous reports whether a path below /proc leads to a pipe without a
// name. Landlock has no rules for those, and does not limit their opening.
func isAnonymous(path string, info fs.FileInfo) bool {
	if info.Mode()&fs.ModeNamedPipe == 0 {
		return false
	}
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.PIPEFS_MAGIC
}

// nameFiles returns the paths that Go's resolver and the names of services
// need. The directory of a resolv.conf that is a link is one of them: the
// program that maintains it (systemd-resolved(8), resolvconf(8)) replaces the
// file.
func nameFiles() []string {
	const resolv, etc = "/etc/resolv.conf", "/etc"
	paths := []string{"/etc/hosts", "/etc/nsswitch.conf", "/etc/services", resolv}
	if real, err := filepath.EvalSymlinks(resolv); err == nil && filepath.Dir(real) != etc {
		paths = append(paths, filepath.Dir(real))
	}
	return paths
}
