/**
 * A copy of set-up in a folder of its own, for its tests: with stand-ins for programs first on PATH, a state folder that nobody shares,
 * and parts that only look built. It never touches the checkout that the tests run in.
 */

import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

export interface Outcome {
  readonly code: number | null
  readonly output: string
}

export class CheckoutCopy implements AsyncDisposable {
  readonly root: string
  readonly home: string
  readonly #programs: string
  readonly #running = new Set<ChildProcessWithoutNullStreams>()
  readonly environment: Record<string, string | undefined> = {}

  private constructor(root: string) {
    this.root = root
    this.home = join(root, 'state')
    this.#programs = join(root, 'programs')
  }

  static async make(): Promise<CheckoutCopy> {
    const copy = new CheckoutCopy(await mkdtemp(join(tmpdir(), 'portico-setup-')))
    await chmod(copy.root, 0o755)
    await mkdir(join(copy.root, 'deploy'))
    await cp(import.meta.dirname, join(copy.root, 'deploy', 'setup'), { recursive: true })
    await mkdir(copy.#programs)
    await copy.write('package.json', '{ "name": "copy", "version": "1.2.3" }')
    await copy.write('package-lock.json', '{}')
    await copy.write('guest-agent/go.mod', 'module copy\n')
    return copy
  }

  /** Writes a file of the checkout. */
  async write(path: string, text: string): Promise<string> {
    const file = join(this.root, path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, text)
    return file
  }

  /** Puts a shell script in front of the program of that name. */
  async standIn(program: string, script: string): Promise<void> {
    const file = join(this.#programs, program)
    await writeFile(file, `#!/bin/bash\n${script}\n`)
    await chmod(file, 0o755)
  }

  /** Makes a named pipe: who reads it waits for who writes it. */
  async pipe(name: string): Promise<string> {
    const file = join(this.root, name)
    await promisify(execFile)('mkfifo', [file])
    return file
  }

  /** Makes every host package look installed. */
  async installHostPackages(): Promise<void> {
    await this.standIn('dpkg-query', 'shift 2; for name; do echo "$name installed"; done')
  }

  /** Makes folders of the right names, so that every part but `assets.json` looks built. */
  async build(): Promise<void> {
    await this.installHostPackages()
    await this.evaluate(`
      mkdir -p "$vmm_root/etc" "$build_root" "$agent_folder" "$images_folder" "$checkout/node_modules"
      printf 'kernel_version=6.12-test\\nqemu_version=10.0.0\\n' >"$vmm_root/etc/portico-vmm"
      read_vmm_release
      mkdir -p "$initramfs_folder"
      touch "$initramfs_folder/initramfs.cpio" "$agent_folder/agent" "$checkout/node_modules/.package-lock.json"
      chmod +x "$agent_folder/agent"
      for name in "\${image_names[@]}"; do printf 0123 >"$images_folder/$name.sha256"; done`)
  }

  /** Runs a script of the copy to its end. */
  async run(script: string, ...args: string[]): Promise<Outcome> {
    return await ended(this.start(script, ...args))
  }

  /** Starts a script of the copy; the copy's end ends it too. */
  start(script: string, ...args: string[]): ChildProcessWithoutNullStreams {
    return this.#spawn('bash', [join(this.root, 'deploy', 'setup', script), ...args])
  }

  /** Runs lines of bash with the names of paths.sh and, if told, of another file; resolves with what they print. */
  async evaluate(lines: string, file = 'paths.sh'): Promise<string> {
    const source = [...new Set(['paths.sh', file])].map((name) => `source ${this.root}/deploy/setup/${name}`)
    const { code, output } = await ended(this.#spawn('bash', ['-euc', [...source, lines].join('\n')]))
    if (code !== 0) throw new Error(`cannot evaluate in the copy: ${output}`)
    return output
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#running) {
      child.kill('SIGTERM')
      await once(child, 'close')
    }
    await rm(this.root, { recursive: true, force: true })
  }

  #spawn(command: string, args: readonly string[]): ChildProcessWithoutNullStreams {
    const env = {
      ...process.env,
      PORTICO_HOME: this.home,
      PATH: `${this.#programs}:${process.env.PATH}`,
      ...this.environment,
    }
    const child = spawn(command, args, { cwd: this.root, env })
    this.#running.add(child)
    child.once('close', () => this.#running.delete(child))
    return child
  }
}

/** All that a program prints, on both outputs, and how it ends. */
export async function ended(child: ChildProcessWithoutNullStreams): Promise<Outcome> {
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, output }
}

/** Resolves once the program has printed that. */
export async function prints(child: ChildProcessWithoutNullStreams, expected: string): Promise<void> {
  let output = ''
  for await (const text of child.stderr.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    output += String(text)
    if (output.includes(expected)) return
  }
  throw new Error(`cannot find "${expected}" in: ${output}`)
}
