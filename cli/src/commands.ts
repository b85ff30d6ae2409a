/**
 * Every command of the program: its name with what it takes, and what the help of all says of it. What one does, and its options, are in a module of its
 * own, which is loaded only where the command line names it: most of a short run is loading code.
 */

import type { Command } from 'commander'
import type { Session } from './session.ts'

/** What the module of a command has. */
interface CommandModule {
  /** Gives the command its options and its action. */
  define(command: Command, session: Session): void
}

interface Entry {
  readonly name: string
  readonly usage: string
  readonly description: string
  readonly load: () => Promise<CommandModule>
}

/** In the order of the help. */
const entries: readonly Entry[] = [
  {
    name: 'run <image> [cmd...]',
    usage: '[options] IMAGE -- CMD…',
    description: 'run a command in a new sandbox, then destroy it',
    load: () => import('./commands/run.ts'),
  },
  {
    name: 'create <image>',
    usage: '[options] IMAGE',
    description: 'create a sandbox and print its id',
    load: () => import('./commands/create.ts'),
  },
  {
    name: 'exec <id> [cmd...]',
    usage: '[options] ID -- CMD…',
    description: 'run a command in a sandbox',
    load: () => import('./commands/exec.ts'),
  },
  {
    name: 'shell <id>',
    usage: '[options] ID',
    description: 'a shell in a sandbox; Ctrl-] leaves it',
    load: () => import('./commands/shell.ts'),
  },
  {
    name: 'console <id> [console]',
    usage: '[options] ID [CONSOLE]',
    description: 'join a console, which stays when you leave it with Ctrl-]; makes one where none runs',
    load: () => import('./commands/console.ts'),
  },
  {
    name: 'ps <id>',
    usage: '[options] ID',
    description: 'list what runs by itself in a sandbox',
    load: () => import('./commands/ps.ts'),
  },
  {
    name: 'output <id> <process>',
    usage: '[options] ID PROCESS',
    description: 'print what a process has printed',
    load: () => import('./commands/output.ts'),
  },
  {
    name: 'attach <id> <process>',
    usage: '[options] ID PROCESS',
    description: 'follow a process to its end, with Ctrl-C; twice leaves it, as Ctrl-] leaves a terminal',
    load: () => import('./commands/attach.ts'),
  },
  {
    name: 'kill <id> <process...>',
    usage: '[options] ID PROCESS…',
    description: 'end processes and have them forgotten, or send them a signal',
    load: () => import('./commands/kill.ts'),
  },
  {
    name: 'ports <id>',
    usage: '[options] ID [PORT]',
    description: 'list what listens in a sandbox, or say who may use a port',
    load: () => import('./commands/ports.ts'),
  },
  {
    name: 'url <id>',
    usage: '[options] ID PORT',
    description: 'print where a server in a sandbox is reached',
    load: () => import('./commands/url.ts'),
  },
  {
    name: 'service',
    usage: 'ACTION ID …',
    description: 'start, stop and look at what a sandbox keeps running by itself',
    load: () => import('./commands/service.ts'),
  },
  {
    name: 'ls <id> <path>',
    usage: '[options] ID PATH',
    description: 'list a directory of a sandbox',
    load: () => import('./commands/ls.ts'),
  },
  {
    name: 'stat <id> <path>',
    usage: '[options] ID PATH',
    description: 'print what is known of a file of a sandbox',
    load: () => import('./commands/stat.ts'),
  },
  {
    name: 'mkdir <id> <path...>',
    usage: '[options] ID PATH…',
    description: 'make directories in a sandbox',
    load: () => import('./commands/mkdir.ts'),
  },
  {
    name: 'cp <from> <to>',
    usage: '[options] FROM TO',
    description: 'copy between here and a sandbox (ID:/path); - is a stream',
    load: () => import('./commands/cp.ts'),
  },
  {
    name: 'mv <id> <source> <destination>',
    usage: '[options] ID SOURCE DESTINATION',
    description: 'move or rename a file of a sandbox',
    load: () => import('./commands/mv.ts'),
  },
  {
    name: 'rm <id> <path...>',
    usage: '[options] ID PATH…',
    description: 'remove files of a sandbox',
    load: () => import('./commands/rm.ts'),
  },
  {
    name: 'search <id> <pattern> [path]',
    usage: '[options] ID PATTERN [PATH]',
    description: 'find lines in files of a sandbox; ends with 1 where there are none',
    load: () => import('./commands/search.ts'),
  },
  {
    name: 'watch <id> <path>',
    usage: '[options] ID PATH',
    description: 'print what happens to files of a sandbox, until Ctrl-C',
    load: () => import('./commands/watch.ts'),
  },
  {
    name: 'store',
    usage: 'ACTION ID …',
    description: 'keep values by key beside a sandbox, also while it sleeps',
    load: () => import('./commands/store.ts'),
  },
  { name: 'list', usage: '[options]', description: 'list the sandboxes', load: () => import('./commands/list.ts') },
  {
    name: 'set <id>',
    usage: '[options] ID',
    description: 'change name, labels or idle time of a sandbox',
    load: () => import('./commands/set.ts'),
  },
  {
    name: 'stop <id...>',
    usage: '[options] ID…',
    description: 'destroy sandboxes',
    load: () => import('./commands/stop.ts'),
  },
  {
    name: 'fork <id>',
    usage: '[options] ID',
    description: 'copy a sandbox as it runs and print the ids of the copies',
    load: () => import('./commands/fork.ts'),
  },
  {
    name: 'snapshot <id>',
    usage: '[options] ID',
    description: 'keep a sandbox as it is now and print the id of the snapshot',
    load: () => import('./commands/snapshot.ts'),
  },
  {
    name: 'restore <snapshot>',
    usage: '[options] SNAPSHOT',
    description: 'create a sandbox from a snapshot and print its id',
    load: () => import('./commands/restore.ts'),
  },
  {
    name: 'snapshots',
    usage: '[list|rm]',
    description: 'list the snapshots, or delete some',
    load: () => import('./commands/snapshots.ts'),
  },
  {
    name: 'checkpoint',
    usage: 'ACTION ID …',
    description: 'keep the files of a sandbox as they are, and go back to them',
    load: () => import('./commands/checkpoint.ts'),
  },
  {
    name: 'hibernate <id...>',
    usage: '[options] ID…',
    description: 'put sandboxes to sleep; they cost nothing until they resume',
    load: () => import('./commands/hibernate.ts'),
  },
  {
    name: 'resume <id...>',
    usage: '[options] ID…',
    description: 'wake hibernated sandboxes',
    load: () => import('./commands/hibernate.ts'),
  },
  {
    name: 'images',
    usage: '[list|pull|build|rm]',
    description: 'list the images that can be run, pull or build some, or delete them',
    load: () => import('./commands/images.ts'),
  },
  {
    name: 'usage',
    usage: '[options]',
    description: 'say what the account has used, and what that costs',
    load: () => import('./commands/usage.ts'),
  },
  {
    name: 'history',
    usage: '[options]',
    description: 'list the sandboxes that are over',
    load: () => import('./commands/history.ts'),
  },
  {
    name: 'audit',
    usage: 'ID|verify|key',
    description: 'read the audit log of a sandbox, or check one',
    load: () => import('./commands/audit.ts'),
  },
  {
    name: 'webhooks',
    usage: '[action]',
    description: 'tell a URL what happens to sandboxes',
    load: () => import('./commands/webhooks.ts'),
  },
  {
    name: 'admin',
    usage: 'accounts|keys|signing-keys',
    description: 'manage accounts and keys, as the operator',
    load: () => import('./commands/admin.ts'),
  },
  {
    name: 'runners',
    usage: '[action]',
    description: 'manage the hosts that run sandboxes, as the operator',
    load: () => import('./commands/runners.ts'),
  },
  {
    name: 'up [args...]',
    usage: '[OPTIONS OF npm run up]',
    description: 'run the platform on this machine',
    load: () => import('./commands/up.ts'),
  },
  {
    name: 'doctor [args...]',
    usage: '[--json]',
    description: 'say what this host lacks for running sandboxes',
    load: () => import('./commands/doctor.ts'),
  },
  {
    name: 'config',
    usage: 'check [FILE]',
    description: 'check the policy of a runner, portico.yaml',
    load: () => import('./commands/config.ts'),
  },
  {
    name: 'iii',
    usage: 'sandbox …',
    description: 'the sandbox commands of iii; portico-iii is the same',
    load: () => import('./commands/iii.ts'),
  },
]

/** Adds them all. Those whose names are among the words of the command line, which Commander is about to read, do what they are for. */
export async function addCommands(program: Command, session: Session, words: readonly string[]): Promise<void> {
  for (const { name, usage, description, load } of entries) {
    const command = program.command(name).usage(usage).description(description)
    if (words.includes(command.name())) (await load()).define(command, session)
  }
}
