package offer

import "os"

// noFollow is no flag: the identity of the opened file shows a link.
const noFollow = 0

// stateOf returns the state of an open file. Windows has no time of the last
// change that cannot be set back.
func stateOf(f *os.File) (state, error) {
	info, err := f.Stat()
	if err != nil {
		return state{}, err
	}
	return state{size: info.Size(), modTime: info.ModTime()}, nil
}
