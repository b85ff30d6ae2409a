package files

// Owners and groups, by number or by a name of the sandbox's own /etc/passwd and /etc/group.

import (
	"net/http"
	"net/url"
	"os/user"
	"strconv"
	"syscall"

	"portico.dev/agent/internal/proto"
)

// owner is who a file shall belong to; unchanged leaves either as it is.
type owner struct{ uid, gid int }

func (o owner) asked() bool { return o.uid != unchanged || o.gid != unchanged }

// findOwner reads an owner and a group, of which each may be missing.
func findOwner(name, group *string) (owner, *proto.Failure) {
	found := owner{unchanged, unchanged}
	if name != nil {
		id, known := numberOf(*name, func() (string, error) {
			entry, err := user.Lookup(*name)
			if err != nil {
				return "", err
			}
			return entry.Uid, nil
		})
		if !known {
			return found, proto.Fail(proto.CodeInvalidRequest, "cannot change the owner: there is no user %q", *name)
		}
		found.uid = id
	}
	if group != nil {
		id, known := numberOf(*group, func() (string, error) {
			entry, err := user.LookupGroup(*group)
			if err != nil {
				return "", err
			}
			return entry.Gid, nil
		})
		if !known {
			return found, proto.Fail(proto.CodeInvalidRequest, "cannot change the owner: there is no group %q", *group)
		}
		found.gid = id
	}
	return found, nil
}

func numberOf(text string, lookup func() (string, error)) (int, bool) {
	if id, err := lookup(); err == nil {
		text = id
	}
	id, err := strconv.ParseUint(text, 10, 32)
	return int(id), err == nil && id < 1<<32-1 // the last number means "as it is"
}

// ownerIn reads the owner and the group of a query.
func ownerIn(values url.Values) (owner, *proto.Failure) {
	var name, group *string
	if text := values.Get("owner"); text != "" {
		name = &text
	}
	if text := values.Get("group"); text != "" {
		group = &text
	}
	return findOwner(name, group)
}

// accountNames tells names of numbers, and remembers them: users at even places, groups at odd ones.
type accountNames map[uint64]string

func (a accountNames) user(uid uint32) string {
	return a.find(uint64(uid)<<1, uid, func(id string) string {
		if entry, err := user.LookupId(id); err == nil {
			return entry.Username
		}
		return id
	})
}

func (a accountNames) group(gid uint32) string {
	return a.find(uint64(gid)<<1|1, gid, func(id string) string {
		if entry, err := user.LookupGroupId(id); err == nil {
			return entry.Name
		}
		return id
	})
}

func (a accountNames) find(key uint64, id uint32, lookup func(string) string) string {
	name, known := a[key]
	if !known {
		name = lookup(strconv.FormatUint(uint64(id), 10))
		a[key] = name
	}
	return name
}

// chown is POST /files/chown: of a link itself.
func (h *handlers) chown(r *http.Request) (any, *proto.Failure) {
	var wanted struct {
		named
		Owner     *string `json:"owner"`
		Group     *string `json:"group"`
		Recursive bool    `json:"recursive"`
	}
	if failure := proto.ReadJSON(r, maxRequest, &wanted); failure != nil {
		return nil, failure
	}
	path, failure := wanted.path()
	if failure != nil {
		return nil, failure
	}
	if wanted.Owner == nil && wanted.Group == nil {
		return nil, proto.Fail(proto.CodeInvalidRequest, "cannot change the owner: give an owner, a group or both")
	}
	to, failure := findOwner(wanted.Owner, wanted.Group)
	if failure != nil {
		return nil, failure
	}
	err := syscall.Fchownat(here, path, to.uid, to.gid, linkItself)
	if err == nil && wanted.Recursive {
		err = below(path, &walk{gone: h.gone(r), meet: func(one *met) error {
			return unlessGone(syscall.Fchownat(one.folder, one.name, to.uid, to.gid, linkItself))
		}})
	}
	if err != nil {
		return nil, failed(err, "change the owner of", path)
	}
	return didTo(path), nil
}
