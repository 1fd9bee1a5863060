using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>What the NEON kernels share: scales, and results.</summary>
internal static unsafe class NeonPanel
{
    /// <summary>y[q] ← fma(scale, sum, y[q]) for a quarter of a panel, q its first row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<float> Accumulate(byte* scales, bool wide, int row, Vector128<int> sum, Vector128<float> y)
    {
        Vector128<float> scale = wide
            ? Vector128.Load((float*)scales + row)
            : HalfBits.Scales(AdvSimd.SignExtendWideningLower(AdvSimd.LoadVector64((short*)scales + row)));
        return AdvSimd.FusedMultiplyAdd(y, scale, AdvSimd.ConvertToSingle(sum));
    }

    /// <summary>Bytes of a panel's scales for a group.</summary>
    internal static int ScaleBytes(in PanelProduct product) => TurboQuantLayout.PanelRows * (product.WideScales ? sizeof(float) : sizeof(ushort));

    /// <summary>Writes a panel's results, fewer where it is the last.</summary>
    internal static void Store(in PanelProduct product, int panel, int token, Vector128<float> y0, Vector128<float> y1, Vector128<float> y2, Vector128<float> y3)
    {
        int row = panel * TurboQuantLayout.PanelRows;
        float* all = stackalloc float[TurboQuantLayout.PanelRows];
        float scale = product.X.Scales[token];
        (y0 * scale).Store(all);
        (y1 * scale).Store(all + 4);
        (y2 * scale).Store(all + 8);
        (y3 * scale).Store(all + 12);
        int rows = Math.Min(TurboQuantLayout.PanelRows, product.Rows - row);
        new Span<float>(all, rows).CopyTo(new Span<float>(product.Y + ((long)token * product.YStride) + row, rows));
    }
}
