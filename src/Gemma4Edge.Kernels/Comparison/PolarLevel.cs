namespace Gemma4Edge.Kernels;

/// <summary>The angles of one level of <see cref="PolarCodec"/>: which code a pair gets, and the direction a code stands for.</summary>
/// <remarks>
/// No arctangent: a pair (x, y) of the first quadrant lies at or beyond the angle β where y·cos β ≥ x·sin β, products in double precision.
/// Sines and cosines are made here by their series, once, so that they are the same numbers on every CPU.
/// </remarks>
internal sealed class PolarLevel
{
    private const int Quadrants = 4;

    private readonly bool _wholeCircle;
    private readonly (double Sin, double Cos)[] _bounds;

    /// <param name="firstBit">Where its codes begin in the block.</param>
    /// <param name="bits">Bits of a code.</param>
    /// <param name="angles">What the codes stand for, in the first quadrant; null = the middles of equal steps of the whole circle, from −π.</param>
    public PolarLevel(int firstBit, int bits, double[]? angles)
    {
        FirstBit = firstBit;
        Bits = bits;
        _wholeCircle = angles is null;
        int count = 1 << bits;
        angles ??= [.. Enumerable.Range(0, count).Select(code => ((2 * code) + 1 - count) * Math.PI / count)];
        Cos = Array.ConvertAll(angles, angle => (float)SinCos(angle).Cos);
        Sin = Array.ConvertAll(angles, angle => (float)SinCos(angle).Sin);

        double[] inside = _wholeCircle ? angles[(count / 2)..(count / 2 + (count / Quadrants))] : angles;
        _bounds = [.. inside.Zip(inside.Skip(1), (a, b) => SinCos((a + b) / 2))];
    }

    /// <summary>Where its codes begin.</summary>
    public int FirstBit { get; }

    /// <summary>Bits of a code.</summary>
    public int Bits { get; }

    /// <summary>Cosines of the codes' angles.</summary>
    public float[] Cos { get; }

    /// <summary>Sines of the codes' angles.</summary>
    public float[] Sin { get; }

    /// <summary>The code whose angle is nearest to that of (x, y); half way between two the upper one.</summary>
    /// <param name="x">Above level 1 not negative.</param>
    /// <param name="y">Above level 1 not negative.</param>
    public int CodeOf(float x, float y)
    {
        (int quadrant, double u, double v) = (x, y) switch
        {
            _ when !_wholeCircle => (0, x, y),
            ( < 0, <= 0) => (0, -x, -y),
            ( >= 0, < 0) => (1, -y, x),
            ( <= 0, > 0) => (3, y, -x),
            _ => (2, x, y),
        };
        int code = quadrant * (_bounds.Length + 1);
        foreach ((double sin, double cos) in _bounds)
        {
            code += v * cos >= u * sin ? 1 : 0;
        }

        return code;
    }

    /// <summary>Σ (−1)ⁿ·a²ⁿ⁺¹/(2n+1)! and Σ (−1)ⁿ·a²ⁿ/(2n)!, for |a| ≤ π.</summary>
    private static (double Sin, double Cos) SinCos(double angle)
    {
        double sin = 0, cos = 0, term = 1;
        for (int n = 0; n < 40; n += 2)
        {
            cos += term;
            term *= angle / (n + 1);
            sin += term;
            term *= -angle / (n + 2);
        }

        return (sin, cos);
    }
}
