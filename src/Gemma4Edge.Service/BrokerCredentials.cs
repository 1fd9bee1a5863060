namespace Gemma4Edge.Service;

/// <summary>Whom a client says to be, and which broker it believes. Secrets are in files, never here.</summary>
public sealed record BrokerCredentials
{
    /// <summary>User at the broker; null = nobody.</summary>
    public string? User { get; init; }

    /// <summary>File with the user's password on its first line.</summary>
    public string? PasswordFile { get; init; }

    /// <summary>PEM file of the only roots that a broker's certificate may come from; null = those of the system.</summary>
    public string? CaFile { get; init; }

    /// <summary>PEM file of the client's certificate, with its key unless <see cref="ClientKeyFile"/> has it.</summary>
    public string? ClientCertificateFile { get; init; }

    /// <summary>PEM file of the certificate's key, not encrypted.</summary>
    public string? ClientKeyFile { get; init; }

    /// <summary>What a user knows one of these properties as: a key of the configuration unless a verb has options for them.</summary>
    internal Func<string, string> NameOf { get; init; } = property => $"Mqtt:{property}";
}
