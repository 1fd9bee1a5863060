using System.Globalization;
using System.Text.Json;

namespace Gemma4Edge.Model.Text;

/// <summary>The few habits of Python that show in a prompt, because the published template is run by Python.</summary>
internal static class PythonText
{
    private static readonly Comparer<int[]> s_byCodePoint = Comparer<int[]>.Create((a, b) => a.AsSpan().SequenceCompareTo(b));

    /// <summary>A JSON number as Python prints it after <c>json.loads</c>: 1.0 stays 1.0, 1e20 is 1e+20, an integer stays whole at any size.</summary>
    public static string Number(JsonElement number)
    {
        string text = number.GetRawText();
        return text.AsSpan().IndexOfAny(".eE") < 0
            ? text == "-0" ? "0" : text
            : Repr(double.Parse(text, CultureInfo.InvariantCulture));
    }

    /// <summary><c>repr(float)</c>: the shortest digits that read back; an exponent below 1e-4 and from 1e16 on.</summary>
    public static string Repr(double value)
    {
        if (double.IsInfinity(value))
        {
            return value > 0 ? "inf" : "-inf";
        }
        string sign = double.IsNegative(value) ? "-" : "";
        string shortest = Math.Abs(value).ToString("R", CultureInfo.InvariantCulture);
        string[] halves = shortest.Split('E');
        int dot = halves[0].IndexOf('.');
        string digits = halves[0].Replace(".", "", StringComparison.Ordinal);
        int point = (dot < 0 ? digits.Length : dot) + (halves.Length > 1 ? int.Parse(halves[1], CultureInfo.InvariantCulture) : 0);
        int leadingZeros = digits.Length - digits.TrimStart('0').Length;
        point -= leadingZeros;
        digits = digits.Trim('0');                       // value = 0.digits × 10^point
        if (digits.Length == 0)
        {
            return sign + "0.0";
        }
        if (point is <= -4 or > 16)
        {
            string fraction = digits.Length > 1 ? "." + digits[1..] : "";
            int exponent = point - 1;
            return string.Create(CultureInfo.InvariantCulture, $"{sign}{digits[0]}{fraction}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}");
        }
        if (point <= 0)
        {
            return $"{sign}0.{new string('0', -point)}{digits}";
        }
        return point >= digits.Length
            ? $"{sign}{digits.PadRight(point, '0')}.0"
            : $"{sign}{digits[..point]}.{digits[point..]}";
    }

    /// <summary><c>str.strip()</c>.</summary>
    public static string Strip(string text)
    {
        int start = 0;
        int end = text.Length;
        while (start < end && IsSpace(text[start]))
        {
            start++;
        }
        while (end > start && IsSpace(text[end - 1]))
        {
            end--;
        }
        return text[start..end];
    }

    /// <summary>Members as Jinja's <c>dictsort</c> gives them: by name, ignoring case, by code point; of a name that stands twice the last value.</summary>
    public static IEnumerable<KeyValuePair<string, JsonElement>> DictSort(JsonElement mapping)
    {
        var members = new OrderedDictionary<string, JsonElement>(StringComparer.Ordinal);
        foreach (JsonProperty member in mapping.EnumerateObject())
        {
            members[member.Name] = member.Value;
        }
        return members.OrderBy(m => m.Key.ToLowerInvariant().EnumerateRunes().Select(r => r.Value).ToArray(), s_byCodePoint);
    }

    private static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';
}
