// Positions from OpenMM's arrays to those of the engine and forces back, one thread an atom, in the dialect that OpenMM
// compiles for itself when a Context is made. `posq` and the force buffer are in an order of OpenMM's own, which
// changes in a run; the engine's arrays are in the order of the model's atoms. `atomIndex` gives the particle at a
// place of the first, `atomOfParticle` (NUM_PARTICLES,) the atom of a particle, or -1 for what is no atom of the model.
// Defined from outside: NUM_PARTICLES, PADDED_NUM_PARTICLES, ANGSTROM_PER_NM.

/// Positions (n, 3) in angstrom and float64. Those in mixed precision are sums of two floats. Where OpenMM has moved
/// molecules into the box they stay moved: energy and forces do not know it.
KERNEL void lesGatherPositions(GLOBAL const real4* RESTRICT posq,
#ifdef USE_MIXED_PRECISION
                               GLOBAL const real4* RESTRICT posqCorrection,
#endif
                               GLOBAL const int* RESTRICT atomIndex, GLOBAL const int* RESTRICT atomOfParticle,
                               GLOBAL double* RESTRICT positions) {
    for (int place = GLOBAL_ID; place < NUM_PARTICLES; place += GLOBAL_SIZE) {
        const int atom = atomOfParticle[atomIndex[place]];
        if (atom < 0) continue;
        const real4 nm = posq[place];
        double x = nm.x, y = nm.y, z = nm.z;
#ifdef USE_MIXED_PRECISION
        const real4 rest = posqCorrection[place];
        x += rest.x;
        y += rest.y;
        z += rest.z;
#endif
        positions[3 * atom] = x * ANGSTROM_PER_NM;
        positions[3 * atom + 1] = y * ANGSTROM_PER_NM;
        positions[3 * atom + 2] = z * ANGSTROM_PER_NM;
    }
}

/// Adds forces (n, 3), `scale` times those of the engine, to the force buffer (3, PADDED_NUM_PARTICLES), whose numbers
/// are integers of 2^-32 kJ/mol/nm. What no such integer holds, as a NaN, is left out and leaves `*invalid` at 1.
KERNEL void lesAddForces(GLOBAL const double* RESTRICT forces, double scale, GLOBAL const int* RESTRICT atomIndex,
                         GLOBAL const int* RESTRICT atomOfParticle, GLOBAL mm_ulong* RESTRICT forceBuffer,
                         GLOBAL int* RESTRICT invalid) {
    for (int place = GLOBAL_ID; place < NUM_PARTICLES; place += GLOBAL_SIZE) {
        const int atom = atomOfParticle[atomIndex[place]];
        if (atom < 0) continue;
        for (int axis = 0; axis < 3; axis++) {
            const double force = scale * forces[3 * atom + axis];
            if (force > -2147483648.0 && force < 2147483648.0)
                ATOMIC_ADD(&forceBuffer[place + axis * PADDED_NUM_PARTICLES],
                           (mm_ulong)((mm_long)(force * 4294967296.0)));
            else
                *invalid = 1;
        }
    }
}
