// The agent is PID 1 of every virtual machine: it boots it, links to the runner, serves docs/protocol.md, and shuts it down.
//
//	agent                       as PID 1 of a machine
//	agent -container NAME       as PID 1 of a container that the agent itself starts
//	agent -serve unix:PATH      as an ordinary process, for tests and fakes: the same protocol on a socket; no mounts, no clock, no host name
package main

import (
	"fmt"
	"os"
	"strings"

	"portico.dev/agent/internal/container"
)

// version is set by the build.
var version = "development"

func main() {
	path, serve := "", false
	if len(os.Args) == 3 && os.Args[1] == "-serve" {
		path, serve = strings.CutPrefix(os.Args[2], "unix:")
	}
	switch {
	case serve:
		if err := runOnHost(path); err != nil {
			say(err.Error())
			os.Exit(1)
		}
	case os.Getpid() == 1 && len(os.Args) == 3 && os.Args[1] == container.Argument:
		container.Main()
	case os.Getpid() == 1 && len(os.Args) == 1:
		runInGuest()
	default:
		_, _ = fmt.Fprintln(os.Stderr, "usage: agent -serve unix:PATH (without arguments only as PID 1)")
		os.Exit(2)
	}
}

// say prints one line for whoever reads the console.
func say(line string) {
	_, _ = fmt.Fprintln(os.Stderr, "portico-agent: "+line)
}
