package services

import (
	"syscall"
	"unsafe"
)

// unlinkat is what the standard library has no call for.
func unlinkat(folder int, name string, flags int) error {
	path, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, number := syscall.Syscall(syscall.SYS_UNLINKAT, uintptr(folder), uintptr(unsafe.Pointer(path)), uintptr(flags))
	if number != 0 {
		return number
	}
	return nil
}
