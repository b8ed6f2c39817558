import { defineConfig } from 'vitest/config';

export default defineConfig({
  // a loaded machine is slow, and a test that hangs is still found
  test: { environment: 'happy-dom', include: ['tests/**/*.test.ts'], testTimeout: 30_000 },
});
