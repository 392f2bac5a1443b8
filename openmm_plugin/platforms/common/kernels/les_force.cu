// Positions from OpenMM's arrays to those of the engine and forces back, one thread an atom, in the dialect that OpenMM
// compiles for itself when a Context is made. `posq` and the force buffer are in an order of OpenMM's own, which
// changes in a run; the engine's arrays are in the order of the n atoms of the model and the m external charges behind
// them. `atomIndex` gives the particle at a place of the first, `rowOfParticle` (NUM_PARTICLES,) the row of a particle
// in the others, or -1 for what is neither. Defined from outside: NUM_PARTICLES, PADDED_NUM_PARTICLES, ANGSTROM_PER_NM.

/// Positions (n + m, 3) in angstrom and float64. Those in mixed precision are sums of two floats. Where OpenMM has
/// moved molecules into the box they stay moved: energy and forces do not know it.
KERNEL void lesGatherPositions(GLOBAL const real4* RESTRICT posq,
#ifdef USE_MIXED_PRECISION
                               GLOBAL const real4* RESTRICT posqCorrection,
#endif
                               GLOBAL const int* RESTRICT atomIndex, GLOBAL const int* RESTRICT rowOfParticle,
                               GLOBAL double* RESTRICT positions) {
    for (int place = GLOBAL_ID; place < NUM_PARTICLES; place += GLOBAL_SIZE) {
        const int row = rowOfParticle[atomIndex[place]];
        if (row < 0) continue;
        const real4 nm = posq[place];
        double x = nm.x, y = nm.y, z = nm.z;
#ifdef USE_MIXED_PRECISION
        const real4 rest = posqCorrection[place];
        x += rest.x;
        y += rest.y;
        z += rest.z;
#endif
        positions[3 * row] = x * ANGSTROM_PER_NM;
        positions[3 * row + 1] = y * ANGSTROM_PER_NM;
        positions[3 * row + 2] = z * ANGSTROM_PER_NM;
    }
}

/// Positions (n, 3) of the atoms followed through the faces of the box, as a Context gives them: places are moved back
/// by the whole numbers of box vectors `cellOffsets` (NUM_PARTICLES, 3) that OpenMM has moved them by. The box vectors
/// are (ax, 0, 0), (bx, by, 0), (cx, cy, cz) in angstrom.
KERNEL void lesUnwrapPositions(GLOBAL const double* RESTRICT positions, GLOBAL const int* RESTRICT cellOffsets,
                               GLOBAL const int* RESTRICT atomIndex, GLOBAL const int* RESTRICT rowOfParticle,
                               int numAtoms, double ax, double bx, double by, double cx, double cy, double cz,
                               GLOBAL double* RESTRICT unwrapped) {
    for (int place = GLOBAL_ID; place < NUM_PARTICLES; place += GLOBAL_SIZE) {
        const int atom = rowOfParticle[atomIndex[place]];
        if (atom < 0 || atom >= numAtoms) continue;
        const int a = cellOffsets[3 * place], b = cellOffsets[3 * place + 1], c = cellOffsets[3 * place + 2];
        unwrapped[3 * atom] = positions[3 * atom] - (a * ax + b * bx + c * cx);
        unwrapped[3 * atom + 1] = positions[3 * atom + 1] - (b * by + c * cy);
        unwrapped[3 * atom + 2] = positions[3 * atom + 2] - c * cz;
    }
}

/// Adds `scale` times the forces of the engine, (n, 3) and (m, 3), to the force buffer (3, PADDED_NUM_PARTICLES), whose
/// numbers are integers of 2^-32 kJ/mol/nm. What no such integer holds, as a NaN, is left out and leaves `*invalid`
/// at 1.
KERNEL void lesAddForces(GLOBAL const double* RESTRICT forces, GLOBAL const double* RESTRICT externalForces,
                         int numAtoms, double scale, GLOBAL const int* RESTRICT atomIndex,
                         GLOBAL const int* RESTRICT rowOfParticle, GLOBAL mm_ulong* RESTRICT forceBuffer,
                         GLOBAL int* RESTRICT invalid) {
    for (int place = GLOBAL_ID; place < NUM_PARTICLES; place += GLOBAL_SIZE) {
        const int row = rowOfParticle[atomIndex[place]];
        if (row < 0) continue;
        GLOBAL const double* of = row < numAtoms ? forces + 3 * row : externalForces + 3 * (row - numAtoms);
        for (int axis = 0; axis < 3; axis++) {
            const double force = scale * of[axis];
            if (force > -2147483648.0 && force < 2147483648.0)
                ATOMIC_ADD(&forceBuffer[place + axis * PADDED_NUM_PARTICLES],
                           (mm_ulong)((mm_long)(force * 4294967296.0)));
            else
                *invalid = 1;
        }
    }
}
