"""What a pre-trained sequence encoder has learnt: of all customers (`learned`), of one (`customer`)."""
