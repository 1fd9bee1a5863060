using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma4Edge.Kernels;

/// <summary>Q4_0 on AVX2: eight bytes widened to 32 bits hold weights j and j + 16 in their nibbles; w = q·d − 8d in one FMA.</summary>
/// <remarks>The FMA rounds once, and d·(q − 8) needs 11 + 4 bits, so it is exact.</remarks>
/// <inheritdoc cref="Q4_0Layout"/>
internal readonly unsafe struct Q4_0Avx2 : IAvx2Block<Q4_0Avx2>
{
    private readonly byte* _quants;
    private readonly Vector256<float> _scale;
    private readonly Vector256<float> _offset;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Q4_0Avx2(byte* block)
    {
        float d = Q4_0Layout.Scale(block);
        _quants = block + Q4_0Layout.Quants;
        _scale = Vector256.Create(d);
        _offset = Vector256.Create(-8 * d);
    }

    public static int Columns => Q4_0Layout.Columns;

    public static int Bytes => Q4_0Layout.Bytes;

    public static Q4_0Avx2 Open(byte* block) => new(block);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(int column, out Vector256<float> w0, out Vector256<float> w1, out Vector256<float> w2, out Vector256<float> w3)
    {
        Vector256<int> first = Avx2.ConvertToVector256Int32(_quants);
        Vector256<int> second = Avx2.ConvertToVector256Int32(_quants + 8);
        Vector256<int> low = Vector256.Create(15);
        w0 = Weights(first & low);
        w1 = Weights(second & low);
        w2 = Weights(first >>> 4);
        w3 = Weights(second >>> 4);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Vector256<float> Weights(Vector256<int> quants) => Fma.MultiplyAdd(Vector256.ConvertToSingle(quants), _scale, _offset);
}
