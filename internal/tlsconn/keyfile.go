package tlsconn

import (
	"errors"
	"fmt"
	"io"
	"os"

	"purr/internal/sys"
)

// maxKeyLine is the longest line in bytes that is read for a key.
const maxKeyLine = 4096

// LoadKey reads a key from the first line of a file. A regular file that users
// other than its owner may read or change is an error. The errors of ParseKey
// are returned as they are.
func LoadKey(path string) (Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return Key{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Key{}, err
	}
	if mode := info.Mode(); mode.IsRegular() && mode&0o066 != 0 && sys.ModeTellsUsers {
		return Key{}, fmt.Errorf("other users may read or change it (mode %04o): say chmod 600 %s", mode.Perm(), path)
	}
	return ReadKey(f)
}

// ReadKey reads a key from one line of r, and no byte behind it: what follows
// is payload. The errors of ParseKey are returned as they are.
func ReadKey(r io.Reader) (Key, error) {
	line, err := readKeyLine(r)
	if err != nil {
		return Key{}, err
	}
	return ParseKey(line)
}

// readKeyLine returns one line, without its end. The last one may have none.
func readKeyLine(r io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < maxKeyLine; {
		n, err := r.Read(one)
		switch {
		case n > 0 && one[0] == '\n', err == io.EOF && len(line) > 0:
			return string(line), nil
		case n > 0:
			line = append(line, one[0])
		case err == io.EOF:
			return "", errors.New("it is empty: a key was expected on its first line")
		case err != nil:
			return "", err
		}
	}
	return "", ErrNoKey
}
