/**
 * Names of the steps at which a crash of the runner makes a difference, in order. Tests end the process at each of them; nothing else depends on
 * them. A step is told once what it names is done.
 */

import { checkpointSteps } from '../checkpoint/checkpoints.ts'
import { saveSteps } from '../snapshot/save.ts'

const saving = (prefix: string) => saveSteps.map((step) => `${prefix}.save.${step}`)

export const hibernateSteps: readonly string[] = [
  'hibernate.suspended',
  'hibernate.captured',
  ...saving('hibernate'),
  'hibernate.saved',
  'hibernate.recorded',
  'hibernate.stopped',
]

export const resumeSteps: readonly string[] = [
  'resume.opened',
  'resume.restored',
  'resume.linked',
  'resume.verified',
  'resume.recorded',
  'resume.cleaned',
]

export const snapshotSteps: readonly string[] = [
  'snapshot.captured',
  'snapshot.resumed',
  ...saving('snapshot'),
  'snapshot.saved',
]

export const forkSteps: readonly string[] = ['fork.captured', 'fork.resumed', 'fork.child', 'fork.released']

export const revertSteps: readonly string[] = [
  'revert.paused',
  'revert.mounted',
  'revert.identified',
  'revert.ready',
  'revert.recorded',
  'revert.stopped',
]

export const engineSteps: readonly string[] = [
  ...hibernateSteps,
  ...resumeSteps,
  ...snapshotSteps,
  ...forkSteps,
  ...checkpointSteps,
  ...revertSteps,
]

/** Told of each step; what it waits for, the step waits for. */
export type OnStep = (step: string) => void | Promise<void>
