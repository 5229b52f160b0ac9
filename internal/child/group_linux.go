package child

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// onlyZombies reports whether all processes of a group have ended, and only
// their parents have not waited for them yet (proc(5)).
func onlyZombies(group int) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	found := false
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it is gone
		}
		// The name of the program, in parentheses, may hold anything.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // state, parent, group
		if len(fields) < 3 || string(fields[2]) != strconv.Itoa(group) {
			continue
		}
		if string(fields[0]) != "Z" {
			return false
		}
		found = true
	}
	return found
}
