using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>Q8_0 on NEON: sixteen bytes to floats, times d.</summary>
/// <inheritdoc cref="Q8_0Layout"/>
internal readonly unsafe struct Q8_0Neon : INeonBlock<Q8_0Neon>
{
    private readonly sbyte* _quants;
    private readonly Vector128<float> _scale;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Q8_0Neon(byte* block)
    {
        _quants = (sbyte*)block + Q8_0Layout.Quants;
        _scale = Vector128.Create(Q8_0Layout.Scale(block));
    }

    public static int Columns => Q8_0Layout.Columns;

    public static int Bytes => Q8_0Layout.Bytes;

    public static Q8_0Neon Open(byte* block) => new(block);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(int column, out Vector128<float> w0, out Vector128<float> w1, out Vector128<float> w2, out Vector128<float> w3)
    {
        NeonBytes.ToSingle(Vector128.Load(_quants + column), out w0, out w1, out w2, out w3);
        w0 *= _scale;
        w1 *= _scale;
        w2 *= _scale;
        w3 *= _scale;
    }
}
