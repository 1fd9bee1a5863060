using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>Panels with several tokens on NEON: levels of 16 rows × at most 512 columns are unpacked once into 8 KiB on the stack and multiplied with four tokens at a time.</summary>
/// <remarks>The sums of integers are exact and the groups come in the order of the one-token loop, so that each token's floats are those it would have alone.</remarks>
internal static unsafe class NeonMatMul<TCodes, TTiles>
    where TCodes : struct, INeonCodes<TCodes>
    where TTiles : struct, INeonTiles
{
    private const int PanelRows = TurboQuantLayout.PanelRows;
    private const int TileTokens = 4;

    /// <summary>Columns of the unpacked tiles, which stay in L1 beside the tokens' sums.</summary>
    private const int ChunkColumns = 512;

    /// <summary>Tokens whose sums are kept on the stack at once.</summary>
    private const int BatchTokens = 64;

    /// <summary>Multiplies one panel with as many tokens as are whole fours.</summary>
    /// <returns>Their number. The others are the one-token loop's: unpacking pays from three or four tokens on.</returns>
    internal static int Multiply(in PanelProduct product, TCodes codes, int panel)
    {
        int tokens = product.Tokens - (product.Tokens % TileTokens);
        for (int token = 0; token < tokens; token += BatchTokens)
        {
            Multiply(product, codes, panel, token, Math.Min(BatchTokens, tokens - token));
        }

        return tokens;
    }

    [SkipLocalsInit]
    private static void Multiply(in PanelProduct product, TCodes codes, int panel, int firstToken, int tokens)
    {
        sbyte* tiles = stackalloc sbyte[PanelRows * ChunkColumns];
        int* sums = stackalloc int[BatchTokens * PanelRows];
        float* y = stackalloc float[BatchTokens * PanelRows];
        new Span<float>(y, tokens * PanelRows).Clear();
        byte* step = product.Panels + (panel * product.PanelBytes);
        byte* scales = step + product.ScaleOffset;
        for (int column = 0; column < product.Columns; column += product.Group)
        {
            new Span<int>(sums, tokens * PanelRows).Clear();
            for (int part = column; part < column + product.Group; part += ChunkColumns)
            {
                int columns = Math.Min(ChunkColumns, column + product.Group - part);
                step = Unpack(codes, step, columns, tiles);
                sbyte* x = product.X.Values + ((long)firstToken * product.X.Stride) + part;
                for (int token = 0; token < tokens; token += TileTokens)
                {
                    TTiles.FourTokens<TCodes>(tiles, columns, x + ((long)token * product.X.Stride), product.X.Stride, sums + (token * PanelRows));
                }
            }

            Accumulate(scales, product.WideScales, sums, y, tokens);
            scales += NeonPanel.ScaleBytes(product);
        }

        for (int token = 0; token < tokens; token++)
        {
            float* all = y + (token * PanelRows);
            NeonPanel.Store(product, panel, firstToken + token, Vector128.Load(all), Vector128.Load(all + 4), Vector128.Load(all + 8), Vector128.Load(all + 12));
        }
    }

    /// <summary>Writes the levels of 16 rows × <paramref name="columns"/>; returns where the next codes are.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static byte* Unpack(TCodes codes, byte* step, int columns, sbyte* tiles)
    {
        for (sbyte* end = tiles + (columns * PanelRows); tiles < end; tiles += TurboQuantLayout.StepColumns * PanelRows)
        {
            FourRows(codes, step, tiles);
            FourRows(codes, step + 16, tiles + 128);
            FourRows(codes, step + 32, tiles + 256);
            FourRows(codes, step + 48, tiles + 384);
            step += TCodes.StepBytes;
        }

        return step;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void FourRows(TCodes codes, byte* step, sbyte* tiles)
    {
        codes.Load(
            step, out Vector128<sbyte> t0, out Vector128<sbyte> t1, out Vector128<sbyte> t2, out Vector128<sbyte> t3,
            out Vector128<sbyte> t4, out Vector128<sbyte> t5, out Vector128<sbyte> t6, out Vector128<sbyte> t7);
        t0.Store(tiles);
        t1.Store(tiles + 16);
        t2.Store(tiles + 32);
        t3.Store(tiles + 48);
        t4.Store(tiles + 64);
        t5.Store(tiles + 80);
        t6.Store(tiles + 96);
        t7.Store(tiles + 112);
    }

    /// <summary>y[t, r] ← fma(scale[r], sums[t, r], y[t, r]).</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void Accumulate(byte* scales, bool wide, int* sums, float* y, int tokens)
    {
        NeonPanel.LoadScales(scales, wide, out Vector128<float> s0, out Vector128<float> s1, out Vector128<float> s2, out Vector128<float> s3);
        for (float* end = y + (tokens * PanelRows); y < end; y += PanelRows)
        {
            Vector128<float> y0 = AdvSimd.FusedMultiplyAdd(Vector128.Load(y), s0, AdvSimd.ConvertToSingle(Vector128.Load(sums)));
            Vector128<float> y1 = AdvSimd.FusedMultiplyAdd(Vector128.Load(y + 4), s1, AdvSimd.ConvertToSingle(Vector128.Load(sums + 4)));
            Vector128<float> y2 = AdvSimd.FusedMultiplyAdd(Vector128.Load(y + 8), s2, AdvSimd.ConvertToSingle(Vector128.Load(sums + 8)));
            Vector128<float> y3 = AdvSimd.FusedMultiplyAdd(Vector128.Load(y + 12), s3, AdvSimd.ConvertToSingle(Vector128.Load(sums + 12)));
            y0.Store(y);
            y1.Store(y + 4);
            y2.Store(y + 8);
            y3.Store(y + 12);
            sums += PanelRows;
        }
    }
}
