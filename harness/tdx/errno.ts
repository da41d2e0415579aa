/** errno values of the kernel (include/uapi/asm-generic/errno-base.h). */
export const ERRNO = {
  EPERM: -1,
  ENOENT: -2,
  EIO: -5,
  ENOMEM: -12,
  EACCES: -13,
  EFAULT: -14,
  EBUSY: -16,
  ENODEV: -19,
  EINVAL: -22,
  ENOSPC: -28,
  EOPNOTSUPP: -95,
} as const
