package shutdown

import (
	"slices"
	"strings"
)

// kernelOwned are the file systems that hold nothing to be written, and the root, which stays.
var kernelOwned = map[string]bool{
	"proc": true, "sysfs": true, "devtmpfs": true, "devpts": true, "tmpfs": true, "ramfs": true, "rootfs": true, "cgroup": true, "cgroup2": true,
	"overlay": true, "mqueue": true, "debugfs": true, "tracefs": true, "securityfs": true, "bpf": true, "pstore": true, "configfs": true,
	"hugetlbfs": true, "binfmt_misc": true, "autofs": true, "erofs": true,
}

// unmountPlan tells from the text of /proc/self/mountinfo what must be unmounted so that nothing is lost, in order: what was mounted last
// comes first.
func unmountPlan(mountinfo string) []string {
	var points []string
	for line := range strings.Lines(mountinfo) {
		// id parent major:minor root MOUNT-POINT options [optional …] - TYPE source options
		before, after, found := strings.Cut(strings.TrimSpace(line), " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if !found || len(fields) < 6 || len(rest) < 1 || fields[4] == "/" || kernelOwned[rest[0]] {
			continue
		}
		points = append(points, unescape(fields[4]))
	}
	slices.Reverse(points)
	return points
}

// unescape undoes the kernel's \ooo for blanks and backslashes.
func unescape(field string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(field)
}
