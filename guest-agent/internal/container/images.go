// Package container runs programs on another root than the sandbox's, in mount, pid, uts and ipc namespaces of their own; the network is the
// sandbox's. Its files are on the scratch disk, beside the layer that is the sandbox's root, where no path of the sandbox leads:
//
//	images/HEX.erofs              an image, read-only; it goes when no service has it
//	containers/NAME/HEX/upper     what a service has written over it
//	containers/NAME/HEX/work      the overlay's own
//	containers/NAME/image         where the image is mounted, in the container's namespace alone
package container

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"portico.dev/agent/internal/proto"
)

// Store is the folder of images and containers.
type Store struct {
	lock   sync.Mutex
	folder *os.File
}

const (
	// whole ends the name of an image, and partial that of one that is being written.
	whole   = ".erofs"
	partial = ".partial"
	// keptUnused is how long an image stays that no service has: who asks for one, or brings one, is about to define a service with it.
	keptUnused = 10 * time.Minute
)

var digestShape = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Use names the scratch disk's root, which must stay open. Before that, and on a machine without one, there are no containers.
func (s *Store) Use(folder *os.File) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.folder = folder
	images, err := os.ReadDir(s.path("images"))
	if err != nil {
		return nil // none yet
	}
	for _, image := range images {
		if strings.HasSuffix(image.Name(), partial) {
			if err := os.Remove(s.path("images", image.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Routes are the handlers by path and method.
func (s *Store) Routes() map[string]map[string]http.HandlerFunc {
	return map[string]map[string]http.HandlerFunc{"/images": {"GET": s.ask, "PUT": s.put}}
}

func (s *Store) path(parts ...string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", s.folder.Fd(), strings.Join(parts, "/"))
}

// HexOf is the digest's name in the store.
func HexOf(digest string) (string, *proto.Failure) {
	if !digestShape.MatchString(digest) {
		return "", proto.Fail(proto.CodeInvalidRequest, "cannot use the image: its digest must be sha256: and 64 digits of hex")
	}
	return strings.TrimPrefix(digest, "sha256:"), nil
}

// open finds the image that a request names.
func (s *Store) open(r *http.Request) (hex string, failure *proto.Failure) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.folder == nil {
		return "", errNoDisk
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", proto.Fail(proto.CodeInvalidRequest, "cannot read the request: its query is malformed")
	}
	return HexOf(values.Get("digest"))
}

var errNoDisk = proto.Fail(proto.CodeUnsupported, "cannot use containers: this machine has no disk for them")

func (s *Store) ask(w http.ResponseWriter, r *http.Request) {
	hex, failure := s.open(r)
	if failure != nil {
		proto.AnswerFailure(w, failure)
		return
	}
	proto.Answer(w, struct {
		Present bool `json:"present"`
	}{s.promise(hex)})
}

func (s *Store) has(hex string) bool {
	_, err := os.Stat(s.path("images", hex+whole))
	return err == nil
}

// promise tells whether an image is there, and if so keeps it for a while.
func (s *Store) promise(hex string) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	now := time.Now()
	return os.Chtimes(s.path("images", hex+whole), now, now) == nil || s.has(hex)
}

// Sweep removes images that are none of these digests, but for those that were asked for lately.
func (s *Store) Sweep(used map[string]bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.folder == nil {
		return
	}
	images, _ := os.ReadDir(s.path("images"))
	for _, image := range images {
		hex, isWhole := strings.CutSuffix(image.Name(), whole)
		status, err := image.Info()
		if isWhole && err == nil && !used["sha256:"+hex] && time.Since(status.ModTime()) > keptUnused {
			_ = os.Remove(s.path("images", image.Name()))
		}
	}
}

// put keeps the body as an image if it is what its digest says; else nothing is left of it.
func (s *Store) put(w http.ResponseWriter, r *http.Request) {
	hex, failure := s.open(r)
	if failure == nil && !s.promise(hex) {
		err := s.checkRoom(r.ContentLength)
		if err == nil {
			err = s.write(r.Body, hex)
		}
		if err != nil {
			failure = proto.FailureOf(err, "cannot keep the image")
		}
	}
	if failure != nil {
		proto.AnswerFailure(w, failure)
		return
	}
	proto.Answer(w, struct {
		Present bool `json:"present"`
	}{true})
}

// checkRoom spares the way of what would not fit; a size that nobody tells is negative.
func (s *Store) checkRoom(size int64) error {
	var status syscall.Statfs_t
	if err := syscall.Fstatfs(int(s.folder.Fd()), &status); err != nil {
		return err
	}
	if size > int64(status.Bavail)*status.Bsize {
		return syscall.ENOSPC
	}
	return nil
}

func (s *Store) write(body io.Reader, name string) (err error) {
	if err := os.MkdirAll(s.path("images"), 0o700); err != nil {
		return err
	}
	var random [8]byte
	_, _ = rand.Read(random[:])
	temporary := s.path("images", hex.EncodeToString(random[:])+partial)
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	defer func() {
		_ = file.Close()
		if err != nil {
			_ = os.Remove(temporary)
		}
	}()
	sum := sha256.New()
	if err := copyImage(io.MultiWriter(file, sum), body); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != name {
		return proto.Fail(proto.CodeInvalidRequest, "cannot keep the image: its content is not what its digest says")
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return os.Rename(temporary, s.path("images", name+whole))
}

// copyImage tells a body that breaks off from a disk that is full.
func copyImage(to io.Writer, body io.Reader) error {
	block := make([]byte, 256<<10)
	for {
		n, err := body.Read(block)
		if n > 0 {
			if _, err := to.Write(block[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return proto.Fail(proto.CodeCancelled, "cannot keep the image: its upload broke off")
		}
	}
}
