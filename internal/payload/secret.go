package payload

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// ReadSecret reads a file whose only content is a secret. A newline at its end
// comes from an editor and is dropped.
func ReadSecret(path string) ([]byte, error) {
	const most = 4096
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	b = bytes.TrimRight(b, "\r\n")
	if len(b) == 0 || len(b) > most {
		return nil, fmt.Errorf("%s holds no secret of 1 to %d bytes", path, most)
	}
	return b, nil
}
