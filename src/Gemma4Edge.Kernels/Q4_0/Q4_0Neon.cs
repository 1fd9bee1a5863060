using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>Q4_0 on NEON: the sixteen bytes' low nibbles are weights 0 to 15, the high ones 16 to 31; minus 8, to floats, times d.</summary>
/// <inheritdoc cref="Q4_0Layout"/>
internal readonly unsafe struct Q4_0Neon : INeonBlock<Q4_0Neon>
{
    private readonly byte* _quants;
    private readonly Vector128<float> _scale;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Q4_0Neon(byte* block)
    {
        _quants = block + Q4_0Layout.Quants;
        _scale = Vector128.Create(Q4_0Layout.Scale(block));
    }

    public static int Columns => Q4_0Layout.Columns;

    public static int Bytes => Q4_0Layout.Bytes;

    public static Q4_0Neon Open(byte* block) => new(block);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(int column, out Vector128<float> w0, out Vector128<float> w1, out Vector128<float> w2, out Vector128<float> w3)
    {
        Vector128<byte> quants = Vector128.Load(_quants);
        quants = column == 0 ? quants & Vector128.Create((byte)15) : quants >>> 4;
        NeonBytes.ToSingle((quants - Vector128.Create((byte)8)).AsSByte(), out w0, out w1, out w2, out w3);
        w0 *= _scale;
        w1 *= _scale;
        w2 *= _scale;
        w3 *= _scale;
    }
}
