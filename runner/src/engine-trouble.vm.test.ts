/**
 * What goes wrong around a sandbox, on real machines: a disk that is full, saved files that are damaged, a QEMU that dies or does not answer. After
 * each case the state is clear, and nothing of it is left: no machine, no file, no second name of a template's file, no room of a file that nobody sees.
 */

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { SandboxSpec } from '@portico/shared/control'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { keepTemplates } from '../../tests/kit/templates.ts'
import { roomIn } from './disk/full.ts'
import { type Engine, openEngine, type StateChange } from './engine.ts'
import { statePaths } from './paths.ts'
import { parseManifest, partNames, sealManifest } from './snapshot/manifest.ts'
import { assetsFile, type TestFolder, testFolder } from './testing/host.ts'
import { readState } from './vm/state-file.ts'

const signal = new AbortController().signal
const spec: SandboxSpec = {
  image: 'python',
  vcpus: 1,
  mem_mib: 256,
  disk_mib: 512,
  idle_timeout: 0,
  env: {},
  auto_resume: false,
  on_idle: 'destroy',
}
const full = { code: 'capacity', message: expect.stringContaining("this runner's disk is full") }

let folder: TestFolder
let root: string
let image: string
let engine: Engine
let changes: StateChange[] = []
let onStep: ((step: string) => void | Promise<void>) | undefined
let sandboxes = 0

async function reopen(): Promise<void> {
  await engine?.close()
  const config = { stateDir: folder.stateDir, assets: assetsFile, logLevel: 'silent', poolSize: 0 }
  const limits = { bootMs: 45_000, identityMs: 4000, tries: 2 }
  engine = await openEngine(config, { limits, onStep: (step) => onStep?.(step) })
  engine.onChange((change) => changes.push(change))
}

/** A file system of its own, small enough to be filled in no time. Not one in memory: that takes room for what is only read, too. */
async function mount(): Promise<void> {
  await writeFile(image, '')
  await truncate(image, 1000 * 2 ** 20)
  command('mkfs.ext4', '-q', '-m', '0', '-O', '^has_journal', image)
  command('mount', '-o', 'loop', image, root)
}

function command(name: string, ...args: readonly string[]): void {
  const { status, stderr } = spawnSync(name, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`cannot finish ${name}: ${stderr}`)
}

/** Others may begin with the template that was booted here. As a copy, as it is on another file system, and is damaged later. */
async function shareTemplate(): Promise<void> {
  const beside = `${root}.kept`
  await mkdir(beside)
  command('cp', '-r', '--sparse=always', statePaths(folder.stateDir).templates, join(beside, 'templates'))
  await keepTemplates(beside)
  await rm(beside, { recursive: true })
}

beforeAll(async () => {
  folder = await testFolder()
  root = dirname(folder.stateDir)
  image = `${root}.ext4`
  await mount()
  await reopen()
  const first = await create()
  await engine.hibernate(first, 1)
  await engine.destroy(first, 1)
  await shareTemplate()
})
afterAll(async () => {
  await engine?.close()
  command('umount', root)
  await rm(image)
  await folder.remove()
})

let before: Awaited<ReturnType<typeof everything>>
beforeEach(async () => {
  changes = []
  before = await everything()
})
afterEach(async () => {
  onStep = undefined
  const left = engine.status().sandboxes
  await Promise.all(left.map(({ sandbox }) => engine.destroy(sandbox, 1)))
  await Promise.all(['snapfull', 'snapkilled'].map((id) => engine.deleteSnapshot(id)))
  await rm(join(root, 'ballast'), { force: true })
  expect(left).toEqual([])
  expect(await everything()).toEqual(before)
})

/** All that a sandbox could leave behind. */
async function everything() {
  const found = await files()
  const { bsize, blocks, bfree } = await statfs(root)
  const seen = found.reduce((sum, { bytes, links }) => sum + bytes / links, 0)
  return {
    ...capacity(),
    leftovers: await folder.leftovers(),
    // Empty disks are kept for whoever asks next.
    files: found.flatMap(({ name, links }) => (name.startsWith('disks/') ? [] : [`${name} ${links}`])).toSorted(),
    // Of files that have no name any more, as somebody still has them open; folders grow by some KiB.
    hiddenMib: Math.round(((blocks - bfree) * bsize - seen) / 2 ** 20),
  }
}

function capacity() {
  const { freeMemoryMib: memory, freeSlots: slots } = engine.status()
  return { memory, slots }
}

async function files() {
  const entries = await readdir(folder.stateDir, { recursive: true, withFileTypes: true })
  return await Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async (entry) => {
        const path = join(entry.parentPath, entry.name)
        const { nlink: links, blocks } = await stat(path)
        return { name: path.slice(folder.stateDir.length + 1), links, bytes: blocks * 512 }
      }),
  )
}

async function create(): Promise<string> {
  const id = `run${'abcdefghijklmnopqrstuvwxyz'.at(++sandboxes % 26)}${'y'.repeat(24)}${'abcdefgh'.at(sandboxes / 26)}`
  await engine.create(id, 1, spec)
  return id
}

async function exec(id: string, shell: string): Promise<string> {
  const body = Buffer.from(JSON.stringify({ shell }))
  const response = await engine.request(id, 1, { method: 'POST', path: '/exec', body, signal })
  const parts: Uint8Array[] = []
  for await (const bytes of response.body) parts.push(bytes)
  return (JSON.parse(Buffer.concat(parts).toString('utf8')) as { stdout: string }).stdout
}

const stateOf = (id: string) => engine.status().sandboxes.find(({ sandbox }) => sandbox === id)?.state

/** Sends a signal to every QEMU of this state folder. */
async function tellQemu(name: NodeJS.Signals): Promise<void> {
  const paths = statePaths(folder.stateDir)
  for (const id of await readdir(paths.vms)) {
    const state = await readState(paths.vm(id).state)
    if (state) process.kill(state.qemu.pid, name)
  }
}

/** Takes all room but so much; answers what gives it back. */
async function fill(leave = 0): Promise<() => Promise<void>> {
  const ballast = join(root, 'ballast')
  const most = (await roomIn(root)) - 8 * 2 ** 20
  command('fallocate', '-l', String(most), ballast)
  const handle = await open(ballast, 'r+')
  try {
    // The rest is not known beforehand: the file system takes some of it for itself.
    const size = await fillUp(handle, most)
    await handle.truncate(size - leave)
    await handle.sync()
  } finally {
    await handle.close()
  }
  return () => unlink(ballast)
}

async function fillUp(handle: FileHandle, from: number): Promise<number> {
  const bytes = Buffer.alloc(64 * 1024)
  let at = from
  for (let step = bytes.length; step >= 4096; step /= 16) {
    try {
      for (;;) {
        await handle.write(bytes, 0, step, at)
        await handle.datasync()
        at += step
      }
    } catch (error) {
      expect(error).toMatchObject({ code: 'ENOSPC' })
    }
  }
  return at
}

describe('a disk that is full', () => {
  it.each([0, 300, 1500])('with %i KiB left loses no sandbox that is hibernated, copied or forked', async (kib) => {
    const id = await create()
    await exec(id, 'echo kept > /root/file; sync')
    const empty = await fill(kib * 1024)
    try {
      await expect(engine.hibernate(id, 1)).rejects.toMatchObject(full)
      expect(stateOf(id)).toBe('running')
      expect(await exec(id, 'cat /root/file')).toBe('kept\n')
      await expect(engine.snapshot(id, 1, 'snapfull')).rejects.toMatchObject(full)
      expect(await exec(id, 'cat /root/file')).toBe('kept\n')
    } finally {
      await empty()
    }
    await engine.hibernate(id, 1)
    await engine.resume(id, 1)
    expect(await exec(id, 'cat /root/file')).toBe('kept\n')
    await engine.destroy(id, 1)
  })

  it('holds a guest up that writes to its own disk, until there is room again', async () => {
    const id = await create()
    const empty = await fill(2 ** 20)
    const size = 16 * 2 ** 20
    const writing = exec(id, `head -c ${size} /dev/zero | tr '\\0' x > /root/file; sync; sha256sum < /root/file`)
    await expect.poll(() => roomIn(root), { timeout: 20_000 }).toBeLessThan(2 ** 19)
    await empty()
    expect(await writing).toContain(createHash('sha256').update('x'.repeat(size)).digest('hex'))
    await engine.destroy(id, 1)
  })

  it('refuses a fork, as a whole or the children that have no room, and the parent runs on', async () => {
    const id = await create()
    const children = ['p', 'q'].map((letter) => ({ sandbox: `run${letter.repeat(26)}`, generation: 1 }))
    const { size } = await stat(statePaths(folder.stateDir).disk(512).overlay)
    for (const leave of [0, size + 200 * 1024]) {
      const empty = await fill(leave)
      try {
        if (leave === 0) await expect(engine.fork(id, 1, children)).rejects.toMatchObject(full)
        else {
          const forked = await engine.fork(id, 1, children)
          expect(forked.children.map(({ error }) => error)).toEqual([full, full])
        }
        expect(await exec(id, 'echo on')).toBe('on\n')
      } finally {
        await empty()
      }
    }
    await engine.destroy(id, 1)
  })

  it('refuses to build a template, and any create, and takes nothing for it', async () => {
    const empty = await fill(100 * 2 ** 20)
    const another = { ...spec, disk_mib: 1024 }
    await expect(engine.create('runttttttttttttttttttttttttttt', 1, another)).rejects.toMatchObject(full)
    await empty()
    const emptyAgain = await fill()
    for (let n = 0; n < 8; n++) await expect(create()).rejects.toMatchObject(full)
    await emptyAgain()
    await engine.destroy(await create(), 1)
  })
})

describe('a hibernated sandbox', () => {
  /** A file of its own in the place of a link, as the other names of it are others' files. */
  const own = async (file: string) => {
    command('cp', '--sparse=always', file, `${file}.own`)
    await rename(`${file}.own`, file)
  }
  const damages: Record<string, (file: string) => Promise<void>> = {
    deleted: (file) => rm(file),
    truncated: async (file) => {
      await own(file)
      await truncate(file, 4096)
    },
    flipped: async (file) => {
      await own(file)
      const handle = await open(file, 'r+')
      const byte = Buffer.alloc(1)
      await handle.read(byte, 0, 1, 8191)
      byte[0] = (byte[0] ?? 0) ^ 1
      await handle.write(byte, 0, 1, 8191)
      await handle.close()
    },
  }
  const cases = ['base', 'pages'].flatMap((part) => Object.keys(damages).map((how) => [part, how] as const))

  async function refused(damage: (saved: string) => Promise<void>, code: string, reason: RegExp): Promise<void> {
    const id = await create()
    await engine.hibernate(id, 1)
    await damage(statePaths(folder.stateDir).sandbox(id).saved(1))
    await expect(engine.resume(id, 1)).rejects.toMatchObject({ code, message: expect.stringMatching(reason) })
    expect(stateOf(id)).toBe('error')
    expect(changes.at(-1)).toMatchObject({ sandbox: id, state: 'error', reason: expect.stringMatching(reason) })
    expect(await folder.leftovers()).toEqual([])
    expect(before).toMatchObject(capacity())
    await expect(engine.resume(id, 1)).rejects.toMatchObject({ message: expect.stringMatching(reason) })
    await engine.destroy(id, 1)
  }

  it.each(cases)('whose %s is %s is refused', async (part, how) => {
    await refused(
      (saved) => (damages[how] as (file: string) => Promise<void>)(join(saved, part)),
      'snapshot_damaged',
      /a part of it/,
    )
  })

  it('of another QEMU is refused', async () => {
    const edit = async (saved: string) => {
      const file = join(saved, partNames.manifest)
      const manifest = parseManifest(await readFile(file, 'utf8'))
      await writeFile(file, sealManifest({ ...manifest, versions: { ...manifest.versions, qemu: '0.1' } }))
    }
    await refused(edit, 'snapshot_incompatible', /version of QEMU 0\.1/)
  })
})

describe('a QEMU that is killed', () => {
  it('while nothing happens is an error with its reason', async () => {
    const id = await create()
    await tellQemu('SIGKILL')
    await expect.poll(() => stateOf(id)).toBe('error')
    expect(changes.at(-1)).toMatchObject({ state: 'error', reason: "its virtual machine's process ended by signal 9" })
    await expect(exec(id, 'true')).rejects.toMatchObject({ message: expect.stringContaining('signal 9') })
    await engine.destroy(id, 1)
  })

  it.each([
    ['hibernate.suspended', (id: string) => engine.hibernate(id, 1)],
    ['hibernate.captured', (id: string) => engine.hibernate(id, 1)],
    [
      'fork.captured',
      (id: string) => engine.fork(id, 1, [{ sandbox: 'runzzzzzzzzzzzzzzzzzzzzzzzzzz', generation: 1 }]),
    ],
    ['snapshot.captured', (id: string) => engine.snapshot(id, 1, 'snapkilled')],
  ])('at %s is an error with its reason', async (at, act) => {
    const id = await create()
    const killed = new Promise<void>((resolve) => {
      onStep = async (step) => {
        if (step !== at) return
        await tellQemu('SIGKILL')
        resolve()
      }
    })
    const acting = expect(act(id)).rejects.toMatchObject({ code: expect.stringMatching(/^sandbox_/) })
    await killed
    await acting
    await expect.poll(() => stateOf(id)).toBe('error')
    expect(changes.at(-1)?.reason).toMatch(/virtual machine/)
    await engine.destroy(id, 1)
  })

  it('while it is started for a sandbox that sleeps, leaves it asleep', async () => {
    const id = await create()
    await exec(id, 'echo kept > /root/file')
    await engine.hibernate(id, 1)
    onStep = (step) => (step === 'resume.restored' ? tellQemu('SIGKILL') : undefined)
    await expect(engine.resume(id, 1)).rejects.toMatchObject({ retryable: true })
    onStep = undefined
    expect(stateOf(id)).toBe('hibernated')
    expect(await folder.leftovers()).toEqual([])
    await engine.resume(id, 1)
    expect(await exec(id, 'cat /root/file')).toBe('kept\n')
    await engine.destroy(id, 1)
  })

  it('just when a sandbox woke up leaves it asleep or is an error', async () => {
    const id = await create()
    await engine.hibernate(id, 1)
    onStep = (step) => (step === 'resume.linked' ? tellQemu('SIGKILL') : undefined)
    const woken = await engine.resume(id, 1).then(
      () => true,
      () => false,
    )
    await expect.poll(() => stateOf(id)).toBe(woken ? 'error' : 'hibernated')
    expect(await folder.leftovers()).toEqual([])
    await engine.destroy(id, 1)
  })
})

describe('a QEMU that does not answer', () => {
  const child = { sandbox: 'runzzzzzzzzzzzzzzzzzzzzzzzzzz', generation: 1 }
  const silent = { code: 'deadline', message: expect.stringContaining('no answer') }

  it('fails in limited time: a fork lets it go on, a hibernation that cannot is an error', async () => {
    const [forked, slept] = [await create(), await create()]
    await tellQemu('SIGSTOP')
    await Promise.all([
      expect(engine.fork(forked, 1, [child])).rejects.toMatchObject(silent),
      expect(engine.hibernate(slept, 1)).rejects.toMatchObject(silent),
    ])
    expect([stateOf(forked), stateOf(slept)]).toEqual(['running', 'error'])
    expect(changes.at(-1)).toMatchObject({ sandbox: slept, reason: silent.message })
    await tellQemu('SIGCONT')
    expect(await exec(forked, 'echo on > /root/file; cat /root/file')).toBe('on\n')
    // The disk is as QEMU has it, which may have finished what it was asked for.
    await engine.hibernate(forked, 1)
    await engine.resume(forked, 1)
    expect(await exec(forked, 'cat /root/file')).toBe('on\n')
    await Promise.all([forked, slept].map((id) => engine.destroy(id, 1)))
  })

  it('is destroyed all the same', async () => {
    const id = await create()
    await tellQemu('SIGSTOP')
    const at = performance.now()
    await engine.destroy(id, 1)
    expect(performance.now() - at).toBeLessThan(5000)
  })
})

it('gives every place back of what could not be created', async () => {
  for (let n = 0; n < 20; n++) {
    const id = `run${'abcdefghijklmnopqrst'.at(n)}${'z'.repeat(25)}`
    await expect(engine.create(id, 1, { ...spec, image: 'none' })).rejects.toMatchObject({ code: 'image_unknown' })
    await expect(engine.create(id, 1, { ...spec, mem_mib: 2 ** 20 })).rejects.toMatchObject({ code: 'capacity' })
    await expect(engine.restore(id, 1, 'snapnone', spec)).rejects.toMatchObject({ code: 'snapshot_not_found' })
  }
})

it('builds a template again whose file was damaged between two runners', async () => {
  const { templates } = statePaths(folder.stateDir)
  await engine.close()
  const [key = ''] = await readdir(templates)
  const file = join(templates, key, partNames.layer(1))
  const { size } = await stat(file)
  const handle = await open(file, 'r+')
  await handle.write(Buffer.from('damage'), 0, 6, size - 6)
  await handle.close()
  await reopen()
  const id = await create()
  expect(await exec(id, 'echo on')).toBe('on\n')
  expect((await readFile(file)).subarray(-6).toString('latin1')).not.toBe('damage')
  await engine.destroy(id, 1)
})
