package process

import (
	"path/filepath"
	"strings"
	"syscall"
)

// lookup finds the file that a command's name means: the name itself if it has a slash, else the first executable of that name in path,
// whose relative entries count from cwd. The error is ENOENT, or EACCES where only files were found that may not be executed.
func lookup(name, path, cwd string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	fault := error(syscall.ENOENT)
	for _, folder := range filepath.SplitList(path) {
		if !strings.HasPrefix(folder, "/") {
			folder = filepath.Join(cwd, folder)
		}
		file := filepath.Join(folder, name)
		var stat syscall.Stat_t
		if syscall.Stat(file, &stat) != nil || stat.Mode&syscall.S_IFMT != syscall.S_IFREG {
			continue
		}
		if stat.Mode&0o111 != 0 {
			return file, nil
		}
		fault = syscall.EACCES
	}
	return "", fault
}
