package ports

// What listens, as the kernel tells it: the tables of TCP sockets, and whose descriptors they are.

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"portico.dev/agent/internal/proto"
)

// Listener is a TCP socket that takes connections.
type Listener struct {
	Port    int    `json:"port"`
	Address string `json:"address"`
	Pid     int    `json:"pid,omitempty"`
	Command string `json:"command,omitempty"`
}

const (
	stateListen = "0A"
	// mostLooked is how many processes are looked through for the owner of a socket.
	mostLooked = 4096
)

// List is the handler of GET /ports.
func List(w http.ResponseWriter, _ *http.Request) {
	proto.Answer(w, struct {
		Ports []Listener `json:"ports"`
	}{listeners("/proc")})
}

func listeners(proc string) []Listener {
	found := map[string]*Listener{} // by the socket's inode
	order := []string{}
	for _, table := range [2]string{"tcp", "tcp6"} {
		text, _ := os.ReadFile(filepath.Join(proc, "net", table))
		lines := bufio.NewScanner(bytes.NewReader(text))
		for lines.Scan() {
			fields := strings.Fields(lines.Text())
			if len(fields) < 10 || fields[3] != stateListen {
				continue
			}
			address, port, ok := parseAddress(fields[1])
			if ok && found[fields[9]] == nil {
				found[fields[9]] = &Listener{Port: port, Address: address}
				order = append(order, fields[9])
			}
		}
	}
	findOwners(proc, found)
	all := make([]Listener, 0, len(order))
	for _, inode := range order {
		all = append(all, *found[inode])
	}
	slices.SortStableFunc(all, func(a, b Listener) int { return a.Port - b.Port })
	return all
}

// parseAddress reads an address and port as the kernel writes them: each 32-bit word in the machine's byte order.
func parseAddress(text string) (string, int, bool) {
	host, portText, _ := strings.Cut(text, ":")
	port, err := strconv.ParseUint(portText, 16, 16)
	raw, wrong := hex.DecodeString(host)
	if err != nil || wrong != nil || len(raw)%4 != 0 {
		return "", 0, false
	}
	for at := 0; at < len(raw); at += 4 {
		slices.Reverse(raw[at : at+4])
	}
	address, ok := netip.AddrFromSlice(raw)
	return address.Unmap().String(), int(port), ok
}

func findOwners(proc string, wanted map[string]*Listener) {
	left := len(wanted)
	entries, _ := os.ReadDir(proc)
	looked := 0
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if looked++; left == 0 || looked > mostLooked {
			return
		}
		folder := filepath.Join(proc, entry.Name(), "fd")
		descriptors, _ := os.ReadDir(folder)
		for _, descriptor := range descriptors {
			target, err := os.Readlink(filepath.Join(folder, descriptor.Name()))
			inode, isSocket := strings.CutPrefix(target, "socket:[")
			if err != nil || !isSocket {
				continue
			}
			if l := wanted[strings.TrimSuffix(inode, "]")]; l != nil && l.Pid == 0 {
				l.Pid, l.Command = pid, commandOf(proc, entry.Name())
				left--
			}
		}
	}
}

// commandOf is a process's command line, up to what a list has room for.
func commandOf(proc, pid string) string {
	text, _ := os.ReadFile(filepath.Join(proc, pid, "cmdline"))
	line := strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " "))
	if runes := []rune(strings.ToValidUTF8(line, "\ufffd")); len(runes) > 200 {
		return string(runes[:200])
	}
	return strings.ToValidUTF8(line, "\ufffd")
}
