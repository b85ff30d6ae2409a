package files

// DELETE /files, and the removal of trees that move and copy need. What is mounted somewhere is not removed, and nothing in it.

import (
	"net/http"
	"syscall"

	"portico.dev/agent/internal/proto"
)

func (h *handlers) remove(r *http.Request) (any, *proto.Failure) {
	values, path, failure := query(r)
	if failure != nil {
		return nil, failure
	}
	recursive, failure := flag(values, "recursive")
	if failure != nil {
		return nil, failure
	}
	where, err := openPlace(path, false)
	if err != nil {
		return nil, failed(err, "remove", path)
	}
	defer where.close()
	status, err := where.stat()
	switch {
	case err != nil:
	case status.Mode&syscall.S_IFMT != syscall.S_IFDIR:
		err = unlinkAt(where.folder, where.name, 0)
	case recursive:
		err = removeTree(where, h.gone(r))
	default:
		err = unlinkAt(where.folder, where.name, emptyFolder)
	}
	if err != nil {
		return nil, failed(err, "remove", path)
	}
	return didTo(path), nil
}

// removeTree removes a place with all that is below it. A link is removed, not followed.
func removeTree(where *place, gone <-chan struct{}) error {
	var status, above syscall.Stat_t
	if err := statAt(where.folder, where.name, &status); err != nil {
		return err
	}
	if status.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return unlinkAt(where.folder, where.name, 0)
	}
	if err := syscall.Fstat(where.folder, &above); err != nil {
		return err
	}
	w := &walk{gone: gone}
	w.into = func(one *met, device uint64) (bool, error) {
		if one.status.Dev != device {
			return false, syscall.EBUSY
		}
		return true, nil
	}
	w.meet = func(one *met) error {
		if one.kind() == syscall.S_IFDIR {
			return nil
		}
		return unlessGone(unlinkAt(one.folder, one.name, 0))
	}
	w.leave = func(one *met) error { return unlessGone(unlinkAt(one.folder, one.name, emptyFolder)) }
	if err := w.enter(&met{folder: where.folder, name: where.name, status: status}, above.Dev); err != nil {
		return err
	}
	return nil
}
