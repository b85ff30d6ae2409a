package main

// How Go's scheduler behaves on a small and perhaps emulated machine, where each switch of threads costs as much as a system call.

import (
	"os"
	"runtime"
	"strconv"
)

const (
	// processors is how many run the agent's goroutines at once: one for what is to be done, and one for whoever must go on while a goroutine
	// waits in the kernel, as the reaper always does. More would only wake each other, and the rest is the guest's.
	processors = 2
	// monitorSlack is how many nanoseconds late the monitor thread may wake. It asks to be woken every 20 µs while anything runs; taken at
	// its word it costs more than all the rest of a short request.
	monitorSlack = "4000000"
)

func tuneScheduler() {
	runtime.GOMAXPROCS(processors)
	if thread := monitorThread("/proc/self/task"); thread > 0 {
		_ = os.WriteFile("/proc/"+strconv.Itoa(thread)+"/timerslack_ns", []byte(monitorSlack), 0)
	}
}

// monitorThread tells the number of the thread that the runtime starts first; 0 if there is none. Threads that it starts inherit its slack;
// processes do not, as the reaper sees to that.
func monitorThread(folder string) int {
	threads, err := os.ReadDir(folder)
	if err != nil {
		return 0
	}
	first := 0
	for _, entry := range threads {
		thread, err := strconv.Atoi(entry.Name())
		if err == nil && thread > os.Getpid() && (first == 0 || thread < first) {
			first = thread
		}
	}
	return first
}
