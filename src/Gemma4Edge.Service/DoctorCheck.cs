namespace Gemma4Edge.Service;

/// <summary>How a check ended, in rising severity.</summary>
public enum CheckStatus
{
    /// <summary>Nothing to do.</summary>
    Ok,

    /// <summary>It works, but not as well as it could.</summary>
    Warning,

    /// <summary>The service cannot do its work.</summary>
    Error,
}

/// <summary>One thing that was looked at.</summary>
/// <param name="Name">What.</param>
/// <param name="Status">How it is.</param>
/// <param name="Value">What was found.</param>
/// <param name="Hint">What to do; empty = nothing.</param>
public sealed record DoctorCheck(string Name, CheckStatus Status, string Value, string Hint = "");
