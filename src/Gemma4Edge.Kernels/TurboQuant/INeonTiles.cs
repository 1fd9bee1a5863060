namespace Gemma4Edge.Kernels;

/// <summary>Products of unpacked levels with four tokens, for <see cref="NeonMatMul{TCodes, TTiles}"/>.</summary>
internal unsafe interface INeonTiles
{
    /// <summary>sums[t, r] += Σ_c level(r, c)·x[t, c] for 16 rows and four tokens.</summary>
    /// <typeparam name="TCodes">Where the levels come from: how large they may be.</typeparam>
    /// <param name="tiles">Per step of 32 columns four times 128 bytes, for rows 0–3, 4–7, 8–11, 12–15: eight tiles of 4 rows × 4 columns.</param>
    /// <param name="columns">A multiple of 32.</param>
    /// <param name="x">(4, columns), rows <paramref name="stride"/> apart.</param>
    /// <param name="stride">Distance of two tokens in bytes.</param>
    /// <param name="sums">(4, 16).</param>
    static abstract void FourTokens<TCodes>(sbyte* tiles, int columns, sbyte* x, long stride, int* sums)
        where TCodes : struct, INeonCodes<TCodes>;
}
