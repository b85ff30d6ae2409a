package boot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"
)

const moduleFolder = "/lib/modules"

// loadModules loads what the list names, in its order, and removes each file: the memory is the guest's from then on.
func loadModules(folder string) error {
	list, err := os.ReadFile(filepath.Join(folder, "load-order"))
	if err != nil {
		return fmt.Errorf("cannot read the list of modules: %w", err)
	}
	for _, name := range strings.Fields(string(list)) {
		path := filepath.Join(folder, name)
		if err := loadModule(path); err != nil {
			return fmt.Errorf("cannot load the module %s: %w", name, err)
		}
		_ = os.Remove(path)
	}
	return nil
}

func loadModule(path string) error {
	const finitModule = 313
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	parameters := [1]byte{}
	_, _, number := syscall.Syscall(finitModule, file.Fd(), uintptr(unsafe.Pointer(&parameters)), 0)
	if number != 0 && !errors.Is(number, syscall.EEXIST) {
		return number
	}
	return nil
}
