namespace Gemma4Edge.Service;

/// <summary>Section Queue.</summary>
public sealed record QueueOptions
{
    /// <summary>Most requests that may wait.</summary>
    public int Capacity { get; init; } = 16;

    /// <summary>How long a request may wait that brings no deadline.</summary>
    public int DefaultDeadlineSeconds { get; init; } = 300;

    /// <summary>Reads and checks the section.</summary>
    /// <exception cref="ConfigurationException">A key or a value is wrong.</exception>
    internal static QueueOptions Read(OptionReader reader)
    {
        var queue = new QueueOptions
        {
            Capacity = reader.Whole("Capacity", new QueueOptions().Capacity, 1, 1024),
            DefaultDeadlineSeconds = reader.Whole("DefaultDeadlineSeconds", new QueueOptions().DefaultDeadlineSeconds, 1, 86400),
        };
        reader.RefuseOthers();
        return queue;
    }
}
