package badgerstore

import "io"

// Lock keeps Open of this and of other processes from the store in dir, in
// whatever state that is, until it is closed. Its error wraps ErrUnavailable
// when another has the store open.
func Lock(dir string) (io.Closer, error) {
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	return lock, nil
}
