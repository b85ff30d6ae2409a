package process

// Who a command runs as: a name or a number of the guest's own /etc/passwd, with a group if it says one (`name:group`).

import (
	"os/user"
	"strconv"
	"strings"

	"portico.dev/agent/internal/proto"
)

type account struct {
	name     string
	home     string
	uid, gid uint32
	groups   []uint32
}

// variables are what a login would set.
func (a *account) variables() map[string]string {
	return map[string]string{"HOME": a.home, "USER": a.name, "LOGNAME": a.name}
}

// findAccount looks a user up. A number needs no entry: it then has no name, / for a home, and the group 0 alone, as
// Docker has it.
func findAccount(text string) (*account, *proto.Failure) {
	name, group, hasGroup := strings.Cut(text, ":")
	found := &account{name: name, home: "/"}
	entry, err := user.Lookup(name)
	if err != nil {
		entry, err = user.LookupId(name)
	}
	if err == nil {
		found.name, found.home = entry.Username, entry.HomeDir
		found.uid, found.gid = number(entry.Uid), number(entry.Gid)
		ids, _ := entry.GroupIds()
		for _, id := range ids {
			found.groups = append(found.groups, number(id))
		}
	} else if uid, err := strconv.ParseUint(name, 10, 31); err == nil {
		found.uid = uint32(uid)
	} else {
		return nil, invalid("there is no user " + strconv.Quote(name))
	}
	if !hasGroup {
		return found, nil
	}
	if entry, err := user.LookupGroup(group); err == nil {
		found.gid = number(entry.Gid)
	} else if gid, err := strconv.ParseUint(group, 10, 31); err == nil {
		found.gid = uint32(gid)
	} else {
		return nil, invalid("there is no group " + strconv.Quote(group))
	}
	return found, nil
}

func number(text string) uint32 {
	n, _ := strconv.ParseUint(text, 10, 32)
	return uint32(n)
}
