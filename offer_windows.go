package main

import "os"

// stateOf returns the state of an open file. Windows has no time of the last
// change that nobody can set back.
func stateOf(f *os.File) (fileState, error) {
	info, err := f.Stat()
	if err != nil {
		return fileState{}, err
	}
	return fileState{size: info.Size(), modTime: info.ModTime()}, nil
}
