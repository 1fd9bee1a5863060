namespace Gemma4Edge.Kernels;

/// <summary>Products of one weight format with float activations, on one instruction set.</summary>
/// <remarks>
/// Every implementation computes the same sums in another order: results differ from the scalar reference by at most
/// a small multiple of 2⁻²⁴·√Columns·Σ|wᵢ·xᵢ|. <see cref="Decode"/> is exact: all implementations give the same floats.
/// Implementations have no state and may run on any number of threads as long as their outputs do not overlap.
/// </remarks>
public unsafe interface IWeightKernel : ICpuKernel
{
    /// <summary>Writes one row's weights as floats.</summary>
    /// <param name="row">First byte of the row; no alignment needed.</param>
    /// <param name="destination">(columns) floats.</param>
    /// <param name="columns">A multiple of the format's block.</param>
    void Decode(byte* row, float* destination, int columns);

    /// <summary>y[t, r] = Σ_c W[r, c] · x[t, c] for r in [0, rows) and t in [0, tokens). One token is the matvec of decode.</summary>
    /// <param name="weights">First byte of the first row; rows are <paramref name="rowBytes"/> apart.</param>
    /// <param name="rowBytes">Distance of two weight rows in bytes.</param>
    /// <param name="rows">Number of weight rows.</param>
    /// <param name="columns">Length of a weight row and of an activation row.</param>
    /// <param name="x">Activations, (tokens, columns), rows <paramref name="xStride"/> floats apart.</param>
    /// <param name="xStride">Distance of two activation rows in floats.</param>
    /// <param name="tokens">Number of activation rows.</param>
    /// <param name="y">Result, (tokens, rows), rows <paramref name="yStride"/> floats apart. Must not overlap x.</param>
    /// <param name="yStride">Distance of two result rows in floats.</param>
    void MatMul(byte* weights, long rowBytes, int rows, int columns, float* x, int xStride, int tokens, float* y, int yStride);
}
