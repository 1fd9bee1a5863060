using System.Numerics.Tensors;

namespace Gemma4Edge.Kernels;

/// <summary>TurboQuant_prod: 3-bit levels, and one sign bit per coordinate of the residual in a second rotation, whose products are unbiased. For comparison, not for speed.</summary>
/// <remarks>
/// y ≈ t·level + √(π/(2B))·n·S⁻¹·sign(S·r), r the residual, n its norm, S = H·σ₂ orthonormal, σ₂ the signs of the seed after the row's own.
/// <code>
/// block of B columns:  byte 0  t  half           ‖y‖/√B, in units of the levels
///                           2  n  half           norm of the residual
///                           4  B × 3 bits        codes
///                      4+3B/8  B × 1 bit         signs, set = negative; <see cref="BitStream"/>
/// </code>
/// Source: "TurboQuant: Online Vector Quantization with Near-optimal Distortion Rate" (arXiv 2504.19874), algorithm 2, with an orthonormal S in place of a Gaussian one.
/// </remarks>
internal static unsafe class ProdLayout
{
    private const int Codes = 4;
    private const int CodeBits = 3;

    /// <summary>Levels per σ.</summary>
    private const float LevelsPerSigma = 28.871093f;

    /// <summary>Bytes of a row.</summary>
    internal static long RowBytes(int columns, int block) => columns / block * (Codes + (block / 2L));

    /// <summary>Writes a row that is already rotated.</summary>
    internal static void EncodeRow(TurboQuantDescriptor format, ReadOnlySpan<float> x, IHadamardKernel hadamard, byte* row)
    {
        new Span<byte>(row, (int)RowBytes(x.Length, format.Group)).Clear();
        ReadOnlySpan<float> signs = SignVector.Shared(format.SignSeed + 1, x.Length);
        Span<float> residual = stackalloc float[format.Group];
        for (int column = 0; column < x.Length; column += format.Group)
        {
            ReadOnlySpan<float> y = x.Slice(column, format.Group);
            float scale = (float)(Half)(TensorPrimitives.Norm(y) / MathF.Sqrt(format.Group) / LevelsPerSigma);
            *(Half*)row = (Half)scale;
            var codes = new BitStream(row + Codes);
            for (int i = 0; i < y.Length; i++)
            {
                int code = LevelSearch.Code(format.LevelSpan, scale == 0 ? 0 : y[i] / scale);
                codes.Write(code, CodeBits);
                residual[i] = y[i] - (scale * format.LevelSpan[code]);
            }

            *(Half*)(row + 2) = (Half)TensorPrimitives.Norm<float>(residual);
            ActivationQuantizer.Rotate(residual, signs.Slice(column, format.Group), format.Group, hadamard, residual);
            foreach (float value in residual)
            {
                codes.Write(value < 0 ? 1 : 0, 1);
            }

            row += Codes + (format.Group / 2);
        }
    }

    /// <summary>One row, in its rotated basis.</summary>
    internal static void DecodeRow(TurboQuantDescriptor format, byte* row, IHadamardKernel hadamard, float* destination, int columns)
    {
        ReadOnlySpan<float> signs = SignVector.Shared(format.SignSeed + 1, columns);
        Span<float> residual = stackalloc float[format.Group];
        float factor = MathF.Sqrt(MathF.PI / (2 * format.Group));
        for (int column = 0; column < columns; column += format.Group)
        {
            float scale = (float)*(Half*)row, norm = factor * (float)*(Half*)(row + 2);
            var block = new Span<float>(destination + column, format.Group);
            var codes = new BitStream(row + Codes);
            for (int i = 0; i < block.Length; i++)
            {
                block[i] = scale * format.LevelSpan[codes.Read(CodeBits)];
            }

            for (int i = 0; i < residual.Length; i++)
            {
                residual[i] = codes.Read(1) == 1 ? -norm : norm;
            }

            fixed (float* start = residual)
            {
                hadamard.Transform(start, residual.Length, residual.Length);
            }

            TensorPrimitives.MultiplyAdd<float>(residual, signs.Slice(column, format.Group), block, block);
            row += Codes + (format.Group / 2);
        }
    }
}
