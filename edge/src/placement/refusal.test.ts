import { AppError, type ErrorCode } from '@portico/shared/errors'
import { expect, test } from 'vitest'
import { isImageRefusal, mostTelling } from './refusal.ts'

const most = (...codes: ErrorCode[]) =>
  codes.map((code) => new AppError(code, 'cannot')).reduce<AppError | undefined>(mostTelling, undefined)?.code

test('a runner without room says more than one that does not know the image, whichever was asked first', () => {
  expect(most('capacity', 'image_unknown')).toBe('capacity')
  expect(most('image_not_allowed', 'capacity')).toBe('capacity')
})

test('a runner that may not pull an image says more than one that does not know it', () => {
  expect(most('image_not_installed', 'image_not_allowed', 'image_unknown')).toBe('image_not_installed')
})

test('what a registry says is the same on each runner', () => {
  expect(isImageRefusal({ code: 'image_missing' })).toBe(false)
  expect(isImageRefusal({ code: 'image_not_allowed' })).toBe(true)
})
