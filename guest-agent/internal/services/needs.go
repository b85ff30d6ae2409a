package services

// Who needs whom. Paths read `web → pool → db`: each needs the next.

import (
	"slices"
	"strings"
)

const arrow = " → "

// needed is a service on the way to another, and the path that leads to it.
type needed struct {
	name string
	path []string
}

func (n needed) String() string { return strings.Join(n.path, arrow) }

// findCycle is a path from a service back to itself, or nil. Needs that are not defined lead nowhere.
func findCycle(from string, needsOf func(string) []string) []string {
	done := map[string]bool{}
	var walk func(path []string) []string
	walk = func(path []string) []string {
		for _, need := range needsOf(path[len(path)-1]) {
			next := append(slices.Clone(path), need)
			if need == from {
				return next
			}
			if done[need] {
				continue
			}
			done[need] = true
			if cycle := walk(next); cycle != nil {
				return cycle
			}
		}
		return nil
	}
	return walk([]string{from})
}

// startOrder lists what a service needs, each after what it needs itself, the service last. There is no cycle.
func startOrder(name string, needsOf func(string) []string) []needed {
	var order []needed
	seen := map[string]bool{name: true}
	var walk func(path []string)
	walk = func(path []string) {
		last := path[len(path)-1]
		for _, need := range needsOf(last) {
			if !seen[need] {
				seen[need] = true
				walk(append(slices.Clone(path), need))
			}
		}
		order = append(order, needed{last, path})
	}
	walk([]string{name})
	return order
}
