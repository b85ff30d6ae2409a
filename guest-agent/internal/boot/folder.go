package boot

import "os"

// Folder is the root of the disk's file system. Beside the upper layer of the machine's root it holds what programs should not stumble over.
func (d *Disk) Folder() *os.File { return d.folder }
