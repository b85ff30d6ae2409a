/**
 * Where the peers run: the Debian root that `setup.sh` built, in mount and process namespaces of its own, with one shell that takes commands. Whatever is
 * mounted or started in there ends with the shell, and the shell with this process; the cgroups that `runc` makes on the host are removed by name.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { paths } from '@portico/deploy/checkout'

export interface Finished {
  readonly code: number
  readonly ms: number
  readonly output: string
}

const limitMs = 30_000

export class PeerRoom {
  /** Its name for everything on the host that has to be found again. */
  readonly name: string
  readonly #work: string
  readonly #shell: ChildProcess
  #output = ''
  #next = 0

  private constructor(work: string, shell: ChildProcess, name: string) {
    this.#work = work
    this.#shell = shell
    this.name = name
    shell.stdin?.on('error', () => undefined)
    for (const stream of [shell.stdout, shell.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text
      })
  }

  /** Opens one, building its root where that was not done before. `config` is the bundle of every container in it. */
  static async open(config: (name: string) => object): Promise<PeerRoom> {
    const run = promisify(execFile)
    const { stdout } = await run('bash', [join(import.meta.dirname, 'setup.sh')], { timeout: 1_800_000 })
    const work = await mkdtemp(join(paths.temporary, 'peers-'))
    const inside = ['bash', join(import.meta.dirname, 'enter.sh'), stdout.trim(), work]
    const namespaces = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child']
    const shell = spawn('unshare', [...namespaces, ...inside], { stdio: ['pipe', 'pipe', 'pipe'] })
    const room = new PeerRoom(work, shell, `portico-peer-${process.pid}`)
    try {
      await room.run('mkdir -p /run/runsc')
      await writeFile(join(work, 'bundle', 'config.json'), JSON.stringify(config(room.name)))
      return room
    } catch (error) {
      await room.close()
      throw error
    }
  }

  /**
   * Runs one command line and waits for its end; the time is that of the command and a fork of the shell. It prints to a file, which is answered when it
   * fails: gVisor shuts down a socket that it is given for its output, the shell's own with it.
   */
  async run(command: string): Promise<Finished> {
    const mark = `--- ${++this.#next} `
    this.#output = ''
    const start = performance.now()
    const shut = `{ ${command}; } </dev/null >/tmp/said 2>&1; code=$?; [ $code = 0 ] || cat /tmp/said; echo "${mark}$code"\n`
    this.#shell.stdin?.write(shut)
    const ended = () => {
      const at = this.#output.indexOf(mark)
      return at < 0 ? undefined : /^\d+(?=\n)/.exec(this.#output.slice(at + mark.length))?.[0]
    }
    const code = await new Promise<string>((resolve, reject) => {
      const check = () => {
        const found = ended()
        if (found !== undefined) finish(() => resolve(found))
      }
      const fail = (why: string) => finish(() => reject(new Error(`${why}: ${command}: ${this.#output.slice(-300)}`)))
      const onExit = () => fail('the shell ended')
      const timer = setTimeout(() => fail(`no end within ${limitMs} ms`), limitMs)
      const finish = (settle: () => void) => {
        clearTimeout(timer)
        this.#shell.stdout?.off('data', check)
        this.#shell.off('exit', onExit)
        settle()
      }
      this.#shell.stdout?.on('data', check)
      this.#shell.once('exit', onExit)
    })
    return {
      code: Number(code),
      ms: performance.now() - start,
      output: this.#output.slice(0, this.#output.indexOf(mark)),
    }
  }

  /** Ends everything in it. */
  async close(): Promise<void> {
    if (this.#shell.exitCode === null && this.#shell.signalCode === null) {
      const gone = once(this.#shell, 'exit')
      this.#shell.kill('SIGKILL')
      await gone
    }
    await removeCgroups(this.name)
    await rm(this.#work, { recursive: true, force: true })
  }
}

const cgroups = '/sys/fs/cgroup'

/** A cgroup can be removed once the last process in it is gone, which takes the kernel a moment after it was killed. */
async function removeCgroups(name: string): Promise<void> {
  const roots = [cgroups, ...(await readdir(cgroups).catch(() => [])).map((each) => join(cgroups, each))]
  for (let turn = 0; turn < 50; turn++) {
    const left = await Promise.all(
      roots.map((root) =>
        rmdir(join(root, name)).then(
          () => false,
          (error: NodeJS.ErrnoException) => error.code === 'EBUSY',
        ),
      ),
    )
    if (!left.includes(true)) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
