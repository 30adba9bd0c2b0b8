// A service that does what its callers make it do, one line of input at a time, and says when it is done.
package main

import (
	"bufio"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	mib   = 1 << 20
	page  = 4 << 10
	block = 64 << 10
)

type session struct {
	id   int
	data [1000]byte
}

var (
	blocks   [][]byte
	sessions = map[int]*session{}
)

func main() {
	say("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch words[0] {
		case "nothing":
		case "take":
			take(number(words[1]))
		case "remember":
			remember(number(words[1]))
		case "thin":
			thin(number(words[1]))
		case "drop":
			blocks = nil
			runtime.GC()
		case "release":
			debug.FreeOSMemory()
		default:
			panic(words[0])
		}
		say("done")
	}
}

// take allocates so many MiB, and writes to each page of them.
func take(count int) {
	for i := 0; i < count*mib/block; i++ {
		fresh := make([]byte, block)
		for at := 0; at < block; at += page {
			fresh[at] = 1
		}
		blocks = append(blocks, fresh)
	}
}

// remember keeps so many MiB of small things, as a cache does from which nothing is ever taken out.
func remember(count int) {
	for i := 0; i < count*1000; i++ {
		id := len(sessions)
		sessions[id] = &session{id: id}
		sessions[id].data[0] = 1
	}
}

// thin forgets all but every step-th block.
func thin(step int) {
	for i := range blocks {
		if i%step != 0 {
			blocks[i] = nil
		}
	}
	runtime.GC()
}

func number(word string) int {
	value, err := strconv.Atoi(word)
	if err != nil {
		panic(err)
	}
	return value
}

func say(word string) {
	os.Stdout.WriteString(word + "\n")
}
