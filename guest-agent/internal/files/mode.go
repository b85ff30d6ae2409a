package files

// Permissions: the 12 bits of a mode, as octal digits.

import (
	"net/http"
	"os"
	"strconv"
	"syscall"

	"portico.dev/agent/internal/proto"
)

// modeOf reads the bits that are asked for; nil if none are.
func modeOf(text string) (*uint32, *proto.Failure) {
	if text == "" {
		return nil, nil
	}
	bits, err := strconv.ParseUint(text, 8, 32)
	if err != nil || bits > 0o7777 {
		return nil, proto.Fail(proto.CodeInvalidRequest, "cannot set the mode: it must be octal, such as 0644")
	}
	mode := uint32(bits)
	return &mode, nil
}

// chmod is POST /files/chmod. The path may end in a link, as chmod follows it; links below it are left alone.
func (h *handlers) chmod(r *http.Request) (any, *proto.Failure) {
	var wanted struct {
		named
		Mode      string `json:"mode"`
		Recursive bool   `json:"recursive"`
	}
	if failure := proto.ReadJSON(r, maxRequest, &wanted); failure != nil {
		return nil, failure
	}
	path, failure := wanted.path()
	if failure != nil {
		return nil, failure
	}
	mode, failure := modeOf(wanted.Mode)
	if failure == nil && mode == nil {
		failure = proto.Fail(proto.CodeInvalidRequest, "cannot set the mode: none is given")
	}
	if failure != nil {
		return nil, failure
	}
	err := syscall.Chmod(path, *mode)
	if err == nil && wanted.Recursive {
		err = below(path, &walk{gone: h.gone(r), meet: func(one *met) error {
			if one.kind() == syscall.S_IFLNK {
				return nil
			}
			err := chmodAt(one.folder, one.name, *mode)
			if err == syscall.EOPNOTSUPP { // a link by now
				return nil
			}
			return unlessGone(err)
		}})
	}
	if err != nil {
		return nil, failed(err, "set the mode of", path)
	}
	return didTo(path), nil
}

// below walks what is below a path, if that is a directory or a link to one.
func below(path string, w *walk) error {
	fd, err := openAt(here, path, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err == syscall.ENOTDIR || os.IsNotExist(err) {
		return nil // a file, or a link that leads nowhere
	}
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(fd) }()
	var status syscall.Stat_t
	if err := syscall.Fstat(fd, &status); err != nil {
		return err
	}
	return w.below(fd, "", status.Dev)
}

// unlessGone forgives that something has vanished meanwhile.
func unlessGone(err error) error { return unless(err, syscall.ENOENT) }

func unless(err, forgiven error) error {
	if err == forgiven {
		return nil
	}
	return err
}
